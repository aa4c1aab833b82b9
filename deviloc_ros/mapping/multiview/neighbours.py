"""Which references of a map see the same surfaces from far enough apart to tell their depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.maps.map import Map

# Of the most similar references, so many are looked at.
CANDIDATES = 60
# Directions of view that differ more show nothing in the same way.
MAX_TURN = np.radians(75.0)
# Least distance between two views, as a share of the depth of what they see: below it a pixel of
# error is worth more than the parallax.
MIN_BASELINE = 0.01
# Least share of a view that the other one sees, if it were all at these multiples of its depth.
MIN_OVERLAP = 0.15
DEPTHS = (0.6, 1.0, 2.0)
GRID = 5


class Neighbourhood:
    """Chooses neighbours by appearance, then by pose."""

    def __init__(self, reference_map: Map) -> None:
        """Measure how deep the views of a map are."""
        self._map = reference_map
        self._descriptors = np.asarray(reference_map.global_descriptors, dtype=np.float32)
        self._centres, self._axes = reference_map.viewpoints
        depths = [self._median_depth(i) for i in range(len(self._centres))]
        known = [depth for depth in depths if depth is not None]
        typical = float(np.median(known)) if known else None
        self._depths = [typical if depth is None else depth for depth in depths]

    def of(self, index: int, count: int) -> NDArray[np.int64]:
        """Return at most `count` neighbours of a reference, most similar first."""
        similarity = self._descriptors @ self._descriptors[index]
        turn = np.arccos(np.clip(self._axes @ self._axes[index], -1.0, 1.0))
        baseline = np.linalg.norm(self._centres - self._centres[index], axis=1)
        depth = self._depths[index]
        usable = (turn < MAX_TURN) & (
            baseline > 0 if depth is None else baseline > depth * MIN_BASELINE
        )
        usable[index] = False
        order = np.argsort(np.where(usable, -similarity, np.inf), kind="stable")[:CANDIDATES]
        chosen: list[int] = []
        for other in order[usable[order]]:
            if len(chosen) < count and self._overlap(index, int(other)) >= MIN_OVERLAP:
                chosen.append(int(other))
        return np.array(chosen, dtype=np.int64)

    def _median_depth(self, index: int) -> float | None:
        seen = np.asarray(self._map.observation_points[self._map.observations_of(index)])
        if not len(seen):
            return None
        points = np.asarray(self._map.point_array[seen], dtype=np.float64) + self._map.origin
        depths = self._map.references[index].camera_from_map.apply(points)[:, 2]
        return float(np.median(depths[depths > 0])) if (depths > 0).any() else None

    def _overlap(self, index: int, other: int) -> float:
        """Return which share of a view the other one sees; 1 where depth is unknown."""
        depth = self._depths[index]
        if depth is None:
            return 1.0
        first, second = self._map.references[index], self._map.references[other]
        x = (np.arange(GRID) + 0.5) / GRID * first.camera.width
        y = (np.arange(GRID) + 0.5) / GRID * first.camera.height
        rays = first.camera.rays(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2))
        second_from_first = second.camera_from_map @ first.camera_from_map.inverse()
        shares = []
        for multiple in DEPTHS:
            seen = second.camera.project(second_from_first.apply(rays * depth * multiple))
            inside = (seen >= 0) & (seen < (second.camera.width, second.camera.height))
            shares.append(inside.all(axis=1).mean())
        return float(max(shares))
