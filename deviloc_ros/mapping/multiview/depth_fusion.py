"""One inverse depth a keypoint, fused from what its reference and the neighbours measured.

Some measurements are wrong: the largest group that agrees decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import median_abs_deviation

from deviloc_ros.lifting.geometric import INFERRED_SIGMA, confidence_of, sigma_of
from deviloc_ros.mapping.multiview.repeatability import not_found_again
from deviloc_ros.maps.map import Map

# Measurements further apart than this, in their common standard deviation, contradict each other.
GATE = 3.0


@dataclass(frozen=True)
class Measurements:
    """Inverse depths of keypoints, each with its standard deviation.

    Attributes:
        keypoint: (M,) int64, whose it is.
        inverse_depth: (M,) float64 > 0.
        sigma: (M,) float64 > 0.
        counted: (M,) bool, comes from another view and counts as support.
    """

    keypoint: NDArray[np.int64]
    inverse_depth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    counted: NDArray[np.bool_]

    @staticmethod
    def joined(parts: list[Measurements]) -> Measurements:
        """Return the measurements of all parts."""
        return Measurements(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in Measurements.__annotations__
            )
        )


@dataclass(frozen=True)
class Consensus:
    """What the measurements of each of N keypoints agree on.

    Attributes:
        inverse_depth: (N,) float64; NaN without measurements.
        sigma: (N,) float64; infinite without measurements.
        support: (N,) int64, counted measurements that agree.
    """

    inverse_depth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    support: NDArray[np.int64]


def fuse(measurements: Measurements, count: int) -> Consensus:
    """Return for each keypoint the weighted mean of the largest group that agrees.

    Every measurement is tried as the centre of a group; the members within GATE count the more the
    closer they are. Of equal groups the more certain centre wins.

    Args:
        measurements: in any order.
        count: N, number of keypoints.
    """
    inverse_depth, sigma, counted = _table(measurements, count)
    consensus = np.full(count, np.nan), np.full(count, np.inf), np.zeros(count, dtype=np.int64)
    best = np.full(count, -np.inf)
    for centre in range(inverse_depth.shape[1]):
        spread = np.hypot(sigma, sigma[:, centre : centre + 1])
        distance = np.abs(inverse_depth - inverse_depth[:, centre : centre + 1]) / spread
        agrees = distance < GATE  # False where either is NaN
        score = np.where(agrees, 1.0 - (distance / GATE) ** 2, 0.0).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            score -= 1e-3 * np.log(sigma[:, centre] / inverse_depth[:, centre])
            weight = np.where(agrees, 1.0 / sigma**2, 0.0)
            total = weight.sum(axis=1)
            mean = np.nansum(weight * inverse_depth, axis=1) / total
            deviation = 1.0 / np.sqrt(total)
        better = np.isfinite(score) & (score > best)
        best[better] = score[better]
        support = (agrees & counted).sum(axis=1)
        for kept, values in zip(consensus, (mean, deviation, support), strict=True):
            kept[better] = values[better]
    return Consensus(*consensus)


def _table(
    measurements: Measurements, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Return inverse depths, deviations, counted: (N, most of one keypoint), NaN where none."""
    order = np.argsort(measurements.keypoint, kind="stable")
    keypoint = measurements.keypoint[order]
    of_each = np.bincount(keypoint, minlength=count)
    column = np.arange(len(keypoint)) - (np.cumsum(of_each) - of_each)[keypoint]
    shape = (count, int(of_each.max(initial=0)))
    inverse_depth, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
    counted = np.zeros(shape, dtype=np.bool_)
    inverse_depth[keypoint, column] = measurements.inverse_depth[order]
    sigma[keypoint, column] = measurements.sigma[order]
    counted[keypoint, column] = measurements.counted[order]
    return inverse_depth, sigma, counted


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


def robust_sigma(errors: NDArray[np.float64]) -> float:
    """Return the standard deviation (M,) errors about 0 would have, were it not for wrong ones."""
    # About their own median they would look smaller than they are.
    return float(median_abs_deviation(np.concatenate([errors, -errors]), scale="normal"))


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
