"""The depths of one reference's features, fused from what it and its neighbours say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.lifting.geometric import INFERRED_SIGMA, confidence_of, sigma_of
from deviloc_ros.mapping.multiview.depth_fusion import Measurements, fuse
from deviloc_ros.mapping.multiview.repeatability import not_found_again
from deviloc_ros.maps.map import Map

# How often a depth is right that so many other views agree on (0, 1, 2, more).
TRUST = np.array([0.0, 0.8, 0.95, 1.0])


@dataclass(frozen=True)
class FusedDepths:
    """What a map holds of the depths of a reference's N features.

    Attributes:
        points: (N, 3) float32, relative to the map's origin.
        confidence: (N,) float16.
        sigma: (N,) float16, relative standard deviation of the depth.
        num_supported: features that another view agrees on.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float16]
    sigma: NDArray[np.float16]
    num_supported: int


def fused_depths(
    reference_map: Map,
    index: int,
    neighbours: NDArray[np.int64],
    parts: Sequence[Measurements],
    observed_sigma: float,
) -> FusedDepths:
    """Fuse the depths of a reference's features.

    Args:
        reference_map: lifted.
        index: the reference.
        neighbours: (M,) in which its features were looked for.
        parts: what they measured.
        observed_sigma: relative standard deviation of the depths of observed SfM points.
    """
    rows = reference_map.features_of(index)
    lifted, observed = lifted_inverse_depth(reference_map, index)
    stored = np.asarray(reference_map.confidence[rows], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(lifted) & (stored > 0))
    relative = np.where(observed, observed_sigma, np.maximum(sigma_of(stored), INFERRED_SIGMA))
    own = Measurements(
        known, lifted[known], (relative * lifted)[known], np.zeros(len(known), dtype=np.bool_)
    )
    fused = fuse(Measurements.joined([own, *parts]), len(lifted))
    supported = fused.support > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        agrees = np.abs(fused.inverse_depth - lifted) < 3 * observed_sigma * lifted
        fused_sigma = fused.sigma / fused.inverse_depth
        likely = confidence_of(fused_sigma)
    likely = likely * TRUST[np.minimum(fused.support, len(TRUST) - 1)]
    # 1 says "observed": an inferred depth must not reach it in the map's float16.
    likely = np.where(observed & agrees, 1.0, np.minimum(likely, 0.999))
    reference = reference_map.references[index]
    keypoints = np.asarray(reference_map.keypoints[rows], dtype=np.float64)
    in_camera = reference.camera.rays(keypoints) / fused.inverse_depth[:, None]
    points = reference.camera_from_map.inverse().apply(in_camera) - reference_map.origin
    points = np.where(supported[:, None], points, reference_map.feature_points[rows])
    confidence = np.where(supported, likely, stored).astype(np.float16)
    # What one other view says shares that view's error of pose with all that it says alone.
    confirmed = (fused.support > 1) | (observed & agrees)
    sigma = np.where(confirmed, fused_sigma, np.maximum(fused_sigma, INFERRED_SIGMA))
    sigma = np.where(supported, sigma, np.where(stored > 0, relative, np.nan))
    missed = not_found_again(reference_map, index, neighbours, fused.support, confidence)
    confidence[missed] = 0.0
    return FusedDepths(
        points.astype(np.float32),
        confidence,
        sigma.astype(np.float16),
        int(np.count_nonzero(supported)),
    )


def lifted_inverse_depth(
    reference_map: Map, index: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the inverse depths that lifting gave, NaN where none, and which are observed."""
    rows = reference_map.features_of(index)
    points = np.asarray(reference_map.feature_points[rows], dtype=np.float64)
    pose = reference_map.references[index].camera_from_map
    depth = pose.apply(points + reference_map.origin)[:, 2]
    with np.errstate(invalid="ignore"):
        inverse = np.where(depth > 0, 1.0 / depth, np.nan)
    return inverse, np.asarray(reference_map.confidence[rows] == 1.0)
