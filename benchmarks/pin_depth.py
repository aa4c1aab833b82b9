"""How well a lift knows the depths of SfM points that it was not told of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.mapping.map import Map

BAD = 0.05


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depths at hidden observations.

    Attributes:
        relative: (N,) float64, of keypoints beside a hidden observation that got a usable point.
        asked: keypoints beside a hidden observation.
    """

    relative: NDArray[np.float64]
    asked: int

    def __str__(self) -> str:
        """Return the median, the share of errors above 5 %, and the share that got a point."""
        if not len(self.relative):
            return "none"
        bad, answered = np.mean(self.relative > BAD), len(self.relative) / self.asked
        return f"{np.median(self.relative):.2%}, {bad:.0%} bad, {answered:.0%} answered"


def depth_errors(whole: Map, lifted: Map, config: LocalizerConfig) -> DepthErrors:
    """Compare lifted keypoints with SfM points that the lift did not see.

    Args:
        whole: the map with all points, exact.
        lifted: a variant with fewer points, lifted.
        config: says how near an observation counts as the keypoint's own, and which points are
            certain enough to be used.
    """
    errors = [np.zeros(0)]
    asked = 0
    for index, reference in enumerate(whole.references):
        hidden, points = _hidden(whole, lifted, index)
        rows = whole.features_of(index)
        if not len(hidden) or rows.start == rows.stop:
            continue
        longer = max(reference.camera.width, reference.camera.height)
        radius = config.lifting.observed_radius * max(1.0, longer / config.features.max_size)
        distance, nearest = cKDTree(hidden).query(whole.keypoints[rows])
        beside = np.asarray(distance < radius, dtype=np.bool_)
        nearest = np.asarray(nearest, dtype=np.int64)
        asked += int(beside.sum())
        usable = beside & (lifted.confidence[rows] > config.aggregation.min_confidence)
        given = np.asarray(lifted.feature_points[rows][usable], dtype=np.float64) + lifted.origin
        depth = reference.camera_from_map.apply(given)[:, 2]
        true = reference.camera_from_map.apply(points[nearest[usable]])[:, 2]
        errors.append(np.abs(depth - true) / true)
    return DepthErrors(np.concatenate(errors), asked)


def _hidden(whole: Map, lifted: Map, index: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return pixels and points that a reference observes in the whole map only."""
    rows, left = whole.observations_of(index), lifted.observations_of(index)
    known = {tuple(pixel) for pixel in np.asarray(lifted.observation_pixels[left]).tolist()}
    pixels = np.asarray(whole.observation_pixels[rows])
    hidden = np.array([tuple(pixel) not in known for pixel in pixels.tolist()], dtype=np.bool_)
    points = whole.points3d[np.asarray(whole.observation_points[rows])]
    in_front = whole.references[index].camera_from_map.apply(points)[:, 2] > 0
    kept = hidden & in_front
    return pixels[kept].astype(np.float64), points[kept]
