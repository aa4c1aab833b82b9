"""How well a lift knows depths: of SfM points that it was not told of, and of a depth sensor."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.lifting.geometric import DEPTH_TOLERANCE
from deviloc_ros.maps.map import Map

BAD = 0.05
SENSOR_UNITS_PER_METRE = 5000.0
# Borders of confidence, between which the share of right depths is counted.
BINS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.98, 1.0)


@dataclass(frozen=True)
class DepthErrors:
    """Errors of depths where a true one is known.

    Attributes:
        relative: (N,) float64, of keypoints that got any depth.
        confidence: (N,) float64, what the map says of it.
        asked: keypoints with a true depth.
        min_confidence: a depth is used if its confidence is above this.
    """

    relative: NDArray[np.float64]
    confidence: NDArray[np.float64]
    asked: int
    min_confidence: float

    def summary(self) -> dict[str, Any]:
        """Return what the tables need, as JSON can hold it."""
        used = self.relative[self.confidence > self.min_confidence]
        bins = []
        for low, high in itertools.pairwise(BINS):
            # 1 says "observed", which is no claim of the inference.
            inside = (self.confidence > low) & (self.confidence <= high) & (self.confidence < 1.0)
            right = self.relative[inside] < DEPTH_TOLERANCE
            bins.append([int(inside.sum()), float(self.confidence[inside].sum()), int(right.sum())])
        return {
            "asked": self.asked,
            "answered": len(used),
            "median": float(np.median(used)) if len(used) else None,
            "mean": float(np.mean(np.minimum(used, 1.0))) if len(used) else None,
            "bad": float(np.mean(used > BAD)) if len(used) else None,
            "bins": bins,
        }


def told(summary: Mapping[str, Any]) -> str:
    """Return the median, the share of errors above 5 %, and the share that got a point."""
    if not summary["answered"]:
        return "none"
    answered = summary["answered"] / summary["asked"]
    return f"{summary['median']:.2%}, {summary['bad']:.0%} bad, {answered:.0%} answered"


def hidden_depth_errors(whole: Map, lifted: Map, config: LocalizerConfig) -> DepthErrors:
    """Compare lifted keypoints with SfM points that the lift did not see.

    Args:
        whole: the map with all points, exact.
        lifted: a variant with fewer or other points, lifted.
        config: says how near an observation counts as the keypoint's own, and which points are
            certain enough to be used.
    """
    found = []
    for index, reference in enumerate(whole.references):
        hidden, points = _hidden(whole, lifted, index)
        rows = whole.features_of(index)
        if not len(hidden) or rows.start == rows.stop:
            continue
        longer = max(reference.camera.width, reference.camera.height)
        radius = config.lifting.observed_radius * max(1.0, longer / config.features.max_size)
        distance, nearest = cKDTree(hidden).query(whole.keypoints[rows])
        true = reference.camera_from_map.apply(points[np.asarray(nearest, dtype=np.int64)])[:, 2]
        found.append(_compared(lifted, index, true, np.asarray(distance < radius)))
    return _joined(found, config)


def sensor_depth_errors(lifted: Map, folder: Path, config: LocalizerConfig) -> DepthErrors:
    """Compare lifted keypoints with what a depth sensor saw in the same pixels."""
    found = []
    for index, reference in enumerate(lifted.references):
        path = folder / Path(reference.name).with_suffix(".png")
        sensed = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if sensed is None:
            continue
        # A keypoint at (0.5, 0.5) is in the middle of the first pixel.
        keypoints = np.asarray(lifted.keypoints[lifted.features_of(index)]).astype(np.int64)
        column = np.clip(keypoints[:, 0], 0, sensed.shape[1] - 1)
        row = np.clip(keypoints[:, 1], 0, sensed.shape[0] - 1)
        depth = np.asarray(sensed[row, column], dtype=np.float64) / SENSOR_UNITS_PER_METRE
        found.append(_compared(lifted, index, depth, depth > 0))
    return _joined(found, config)


Compared = tuple[NDArray[np.float64], NDArray[np.float64], int]


def _compared(
    lifted: Map, index: int, true: NDArray[np.float64], known: NDArray[np.bool_]
) -> Compared:
    """Return errors and confidences of a reference's keypoints with known and inferred depths."""
    rows = lifted.features_of(index)
    confidence = np.asarray(lifted.confidence[rows], dtype=np.float64)
    answered = known & (confidence > 0)
    points = np.asarray(lifted.feature_points[rows][answered], dtype=np.float64) + lifted.origin
    depth = lifted.references[index].camera_from_map.apply(points)[:, 2]
    relative = np.abs(depth - true[answered]) / true[answered]
    return relative, confidence[answered], int(known.sum())


def _joined(found: list[Compared], config: LocalizerConfig) -> DepthErrors:
    errors = np.concatenate([np.zeros(0), *(item[0] for item in found)])
    confidence = np.concatenate([np.zeros(0), *(item[1] for item in found)])
    asked = sum(item[2] for item in found)
    return DepthErrors(errors, confidence, asked, config.aggregation.min_confidence)


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
