"""One inverse depth a keypoint from several measurements, of which some are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
