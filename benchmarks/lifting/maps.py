"""Maps with fewer, with wrong and with other SfM points.

A map file holds all that is needed: points, observations, keypoints, poses. Descriptors stay as
they are, so that a variant of a map differs from it in nothing but its 3D points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.lifting.geometric import ReferenceView
from deviloc_ros.maps.map import Map


@dataclass(frozen=True)
class Variant:
    """What is done to a map's SfM points.

    Attributes:
        share: of the points that are left, drawn at random; observations go with their points.
        ray_noise: standard deviation along the ray from the cameras that see the point to it, as a
            share of its distance from them.
        isotropic_noise: the same in every direction.
    """

    share: float = 1.0
    ray_noise: float = 0.0
    isotropic_noise: float = 0.0

    def __str__(self) -> str:
        """Return a name, as in tables."""
        parts = [f"{self.share:.0%} of the points"]
        if self.ray_noise:
            parts.append(f"{self.ray_noise:.0%} noise along the ray")
        if self.isotropic_noise:
            parts.append(f"{self.isotropic_noise:.0%} noise in all directions")
        return ", ".join(parts)

    def apply(self, whole: Map, seed: int) -> Map:
        """Return the map with other points; keypoints still have those of the whole map."""
        generator = np.random.default_rng(seed)
        points = np.asarray(whole.point_array, dtype=np.float64)
        distance, direction = _rays(whole, points)
        along = generator.normal(0, 1, (len(points), 1)) * self.ray_noise * distance[:, None]
        around = generator.normal(0, 1, points.shape) * self.isotropic_noise * distance[:, None]
        moved = points + direction * along + around
        kept = np.sort(generator.permutation(len(points))[: round(self.share * len(points))])
        return with_points(whole, kept, moved[kept])


# A fifth of the points of noisy maps is hidden, to compare depths with.
LEFT = 0.8
BLOCKS: dict[str, Sequence[Variant | str]] = {
    "points": [Variant(share) for share in (1.0, 0.5, 0.1, 0.03)],
    "queries": [Variant()],
    "noise of 2 %": [Variant(LEFT, ray_noise=0.02), Variant(LEFT, isotropic_noise=0.02)],
    "XFeat keypoints": ["XFeat keypoints"],
    "noise of 1 %": [Variant(LEFT, ray_noise=0.01), Variant(LEFT, isotropic_noise=0.01)],
    "ALIKED keypoints": ["ALIKED keypoints"],
}


def with_points(whole: Map, kept: NDArray[np.int64], points: NDArray[np.float64]) -> Map:
    """Return the map with these points only, at these places, and their observations.

    Args:
        whole: the map.
        kept: (K,) ascending indices of its points.
        points: (K, 3) where they are, minus the map's origin.
    """
    new_index = np.full(len(whole.point_array), -1)
    new_index[kept] = np.arange(len(kept))
    observed = new_index[np.asarray(whole.observation_points)]
    seen = observed >= 0
    before = np.concatenate([[0], np.cumsum(seen)])
    return replace(
        whole,
        point_array=points.astype(np.float32),
        observation_points=observed[seen].astype(np.int32),
        observation_pixels=np.asarray(whole.observation_pixels)[seen],
        observation_offsets=before[np.asarray(whole.observation_offsets)],
    )


def view_of(whole: Map, index: int) -> ReferenceView:
    """Return what a reference of the map observes."""
    rows = whole.observations_of(index)
    reference = whole.references[index]
    return ReferenceView(
        reference.camera,
        reference.camera_from_map,
        np.asarray(whole.observation_pixels[rows], dtype=np.float64),
        whole.points3d[np.asarray(whole.observation_points[rows])],
    )


def with_observations(
    whole: Map,
    points: NDArray[np.float64],
    pixels: Sequence[NDArray[np.float64]],
    seen: Sequence[NDArray[np.int64]],
) -> Map:
    """Return the map with other SfM points.

    Args:
        whole: the map.
        points: (P, 3), map frame.
        pixels: of each reference, (M, 2): where it observes points.
        seen: of each reference, (M,): which points.
    """
    return replace(
        whole,
        point_array=(points - whole.origin).astype(np.float32),
        observation_points=np.concatenate(seen).astype(np.int32),
        observation_pixels=np.concatenate(pixels).astype(np.float32),
        observation_offsets=np.concatenate([[0], np.cumsum([len(part) for part in seen])]),
    )


def _rays(
    whole: Map, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return distances (P,) and directions (P, 3) of points from the middle of who sees them."""
    centres = np.array([r.camera_from_map.inverse().translation for r in whole.references])
    centres -= whole.origin
    counts = np.diff(np.asarray(whole.observation_offsets, dtype=np.int64))
    viewer = np.repeat(np.arange(len(centres)), counts.astype(np.int64))
    seen = np.asarray(whole.observation_points)
    count = np.bincount(seen, minlength=len(points))
    sums = [np.bincount(seen, column[viewer], len(points)) for column in centres.T]
    ray = points - np.stack(sums, axis=1) / np.maximum(count, 1)[:, None]
    distance = np.linalg.norm(ray, axis=1)
    return distance, ray / np.maximum(distance, 1e-9)[:, None]
