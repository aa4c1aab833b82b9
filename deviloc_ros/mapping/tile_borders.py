"""Which references of different tiles see the same part of a place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.maps.map import Map

# Cameras of different tiles so far apart, map units, are not asked what both could see.
BORDER_REACH = 30.0
BORDER_SAMPLES = 400


def border(
    maps: Sequence[Map], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return which references of different tiles see the same part of the place, and how much.

    Tiles have no points in common. Two references belong together where many of the points that
    one observes fall into the other's image, and the other way round; walls are not looked at.
    """
    centres = [
        np.array([r.camera_from_map.inverse().translation for r in tile.references])
        for tile in maps
    ]
    pairs, counts = [], []
    for a, b in _neighbours(maps):
        near = cKDTree(centres[a]).query_ball_tree(cKDTree(centres[b]), BORDER_REACH)
        for i, others in enumerate(near):
            for j in others:
                count = min(_visible(maps[a], i, maps[b], j), _visible(maps[b], j, maps[a], i))
                if count:
                    pairs.append((int(starts[a]) + i, int(starts[b]) + j))
                    counts.append(count)
    return np.array(pairs, dtype=np.int32).reshape(-1, 2), np.array(counts, dtype=np.int32)


def _neighbours(maps: Sequence[Map]) -> Iterator[tuple[int, int]]:
    """Yield the tiles whose cameras may be near each other."""
    bounds = [tile.bounds for tile in maps]
    for a in range(len(maps)):
        for b in range(a + 1, len(maps)):
            apart = np.maximum(bounds[a][0] - bounds[b][1], bounds[b][0] - bounds[a][1])
            if np.linalg.norm(np.maximum(apart, 0)) <= BORDER_REACH:
                yield a, b


def _visible(tile: Map, reference: int, other: Map, viewer: int) -> int:
    """Return how many points that a reference observes fall into the image of another's."""
    seen = np.asarray(tile.observation_points[tile.observations_of(reference)])
    share = max(1, len(seen) // BORDER_SAMPLES)
    points = tile.point_array[seen[::share]].astype(np.float64) + tile.origin
    view = other.references[viewer]
    facing = tile.references[reference].camera_from_map @ view.camera_from_map.inverse()
    if facing.rotation.as_matrix()[2, 2] <= 0.5:  # more than 60 deg apart
        return 0
    pixels = view.camera.project(view.camera_from_map.apply(points))
    inside = (pixels >= 0).all(axis=1) & (pixels < (view.camera.width, view.camera.height)).all(1)
    return int(inside.sum()) * share
