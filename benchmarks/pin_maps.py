"""Maps with fewer and with wrong SfM points, and ways to give keypoints their depth from them.

A map file holds all that is needed: points, observations, keypoints, poses. Descriptors stay as
they are, so that a variant of a map differs from it in nothing but its 3D points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.learned_lifting import make_inference
from deviloc_ros.localization.lifting import PointInference, ReferenceView, lift
from deviloc_ros.mapping.consistency import make_consistent
from deviloc_ros.mapping.map import Calibration, Map

Lift = Callable[[Map, LocalizerConfig], Map]


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


def per_view(infer: PointInference) -> Lift:
    """Return a lift that looks at one reference after the other."""

    def lifted(whole: Map, config: LocalizerConfig) -> Map:
        points, confidence = np.empty((len(whole.keypoints), 3)), np.empty(len(whole.keypoints))
        for index, reference in enumerate(whole.references):
            rows = whole.features_of(index)
            longer = max(reference.camera.width, reference.camera.height)
            radius = config.lifting.observed_radius * max(1.0, longer / config.features.max_size)
            keypoints = np.asarray(whole.keypoints[rows], dtype=np.float64)
            result = lift(view_of(whole, index), keypoints, radius, infer)
            points[rows], confidence[rows] = result.points3d - whole.origin, result.confidence
        return replace(
            whole,
            feature_points=points.astype(np.float32),
            confidence=confidence.astype(np.float16),
        )

    return lifted


def nothing(
    keypoints: NDArray[np.float64],
    observations: NDArray[np.float64],
    depths: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Infer nothing: only keypoints with an observed point near get one; see PointInference."""
    return np.full(len(keypoints), np.nan), np.zeros(len(keypoints))


def as_built(method: str) -> Lift:
    """Return the lift of map building: each view by itself, then depths that the views agree on.

    Args:
        method: `lifting.method`.
    """

    def lifted(whole: Map, config: LocalizerConfig) -> Map:
        lifting = config.lifting.model_copy(update={"method": method})
        config = config.model_copy(update={"lifting": lifting})
        single = per_view(make_inference(config))(whole, config)
        # What building measures of the matcher does not depend on the points: it stays.
        plain = single.with_calibration(Calibration(np.zeros_like(whole.calibration.offset_bias)))
        return make_consistent(plain, config).with_calibration(whole.calibration)

    return lifted


def alone(method: str) -> Lift:
    """Return the lift that looks at each view by itself, by `lifting.method`."""

    def lifted(whole: Map, config: LocalizerConfig) -> Map:
        lifting = config.lifting.model_copy(update={"method": method})
        config = config.model_copy(update={"lifting": lifting})
        return per_view(make_inference(config))(whole, config)

    return lifted


LIFTS: dict[str, Lift] = {
    "pin": as_built("pin"),
    "geometric": as_built("geometric"),
    "pin, each view by itself": alone("pin"),
    "geometric, each view by itself": alone("geometric"),
    "observed points only": per_view(nothing),
}


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
