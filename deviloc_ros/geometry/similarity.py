"""Similarity transforms Sim(3) between point sets that correspond, with outliers among them.

S. Umeyama: "Least-squares estimation of transformation parameters between two point patterns",
PAMI 1991; the robust search is least median of squares, P. Rousseeuw, JASA 1984, which needs no
threshold, so no knowledge of the units.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform

MAX_SAMPLES = 1000
INLIER_SIGMAS = 3.0
# Below this ratio of extents points lie on one line for any rotation that is to be found.
MIN_EXTENT_RATIO = 1e-3


class UnderdeterminedError(ValueError):
    """The points do not hold a similarity transform; the message says why."""


@dataclass(frozen=True)
class Similarity:
    """x_target = scale * rotation * x_source + translation.

    Attributes:
        scale: target units per source unit.
        rotation: target_from_source.
        translation: (3,) float64, target units.
    """

    scale: float
    rotation: Rotation
    translation: NDArray[np.float64]

    @staticmethod
    def identity() -> Similarity:
        """Return the transform that changes nothing."""
        return Similarity(1.0, Rotation.identity(), np.zeros(3))

    def apply(self, points: ArrayLike) -> NDArray[np.float64]:
        """Transform points (..., 3)."""
        points = np.asarray(points, dtype=np.float64)
        rotated = points @ self.rotation.as_matrix().T
        return np.asarray(self.scale * rotated + self.translation)

    def inverse(self) -> Similarity:
        """Return source_from_target."""
        rotation = self.rotation.inv()
        translation = -rotation.apply(self.translation) / self.scale
        return Similarity(1 / self.scale, rotation, translation)

    def __matmul__(self, other: Similarity) -> Similarity:
        """Chain: (a_from_b @ b_from_c) is a_from_c."""
        return Similarity(
            self.scale * other.scale, self.rotation * other.rotation, self.apply(other.translation)
        )

    def camera_pose(self, camera_from_source: Transform) -> Transform:
        """Return camera_from_target: the same camera in the target frame, in its units."""
        rotation = camera_from_source.rotation * self.rotation.inv()
        centre = self.apply(camera_from_source.inverse().translation)
        return Transform(rotation, -rotation.apply(centre))


@dataclass(frozen=True)
class SimilarityFit:
    """A similarity transform found from corresponding points.

    Attributes:
        target_from_source: the transform.
        residuals: (N,) float64, distance of every point from its target, target units.
        inliers: (N,) bool, the points it was refined on.
    """

    target_from_source: Similarity
    residuals: NDArray[np.float64]
    inliers: NDArray[np.bool_]


def fit_similarity(
    source: ArrayLike, target: ArrayLike, fixed_scale: bool = False, seed: int = 0
) -> SimilarityFit:
    """Find target_from_source from points, of which up to half may be wrong.

    Args:
        source: (N, 3) points.
        target: (N, 3) the same points in the target frame.
        fixed_scale: keep the scale at 1 (a rigid transform).
        seed: of the random samples.

    Raises:
        UnderdeterminedError: fewer than three points, or the points lie on one line.
    """
    source = np.asarray(source, dtype=np.float64).reshape(-1, 3)
    target = np.asarray(target, dtype=np.float64).reshape(-1, 3)
    if len(source) < 3:
        raise UnderdeterminedError(f"{len(source)} points correspond, at least 3 are needed")
    _check_spread(source)
    _check_spread(target)
    best: Similarity | None = None
    best_median = math.inf
    # With four points or fewer any three would make the fourth the outlier: fit them all.
    samples = _samples(len(source), seed) if len(source) > 4 else np.arange(len(source))[None]
    for sample in samples:
        candidate = umeyama(source[sample], target[sample], fixed_scale)
        if candidate is None:
            continue
        distances = np.linalg.norm(candidate.apply(source) - target, axis=1)
        if (median := float(np.median(distances))) < best_median:
            best, best_median = candidate, median
    if best is None:
        raise UnderdeterminedError("the points lie on one line, or in one place")
    inliers = np.ones(len(source), dtype=bool)
    if len(source) > 4:
        # Rousseeuw's estimate of sigma, for residuals in three dimensions (chi median 1.538).
        sigma = (1 + 5 / (len(source) - 3)) * best_median / 1.538
        noise_floor = 1e-9 * float(np.abs(target).max())
        for _ in range(10):
            distances = np.linalg.norm(best.apply(source) - target, axis=1)
            # A radius of 3 sigma per axis: a share of 0.03 of good points is left out.
            chosen = distances <= max(INLIER_SIGMAS * sigma, noise_floor)
            refined = umeyama(source[chosen], target[chosen], fixed_scale)
            if refined is None or (chosen == inliers).all():
                break
            best, inliers = refined, chosen
    _check_spread(source[inliers])
    residuals = np.linalg.norm(best.apply(source) - target, axis=1)
    return SimilarityFit(best, residuals, inliers)


def umeyama(
    source: NDArray[np.float64], target: NDArray[np.float64], fixed_scale: bool = False
) -> Similarity | None:
    """Return the least-squares target_from_source of points (N, 3), or None on one line."""
    source_centre, target_centre = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_centre, target - target_centre
    u, singular, vt = np.linalg.svd(b.T @ a)
    if singular[1] <= MIN_EXTENT_RATIO**2 * singular[0]:
        return None
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = Rotation.from_matrix((u * signs) @ vt)
    scale = 1.0 if fixed_scale else float((singular * signs).sum() / (a**2).sum())
    if scale <= 0:
        return None
    return Similarity(scale, rotation, target_centre - scale * rotation.apply(source_centre))


def extents(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviations (3,) of points (N, 3) along their own axes, largest first."""
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return np.pad(singular, (0, 3 - len(singular))) / math.sqrt(len(points))


def _check_spread(points: NDArray[np.float64]) -> None:
    along, across, _ = extents(points)
    if across <= max(MIN_EXTENT_RATIO * along, 1e-12 * float(np.abs(points).max())):
        raise UnderdeterminedError("the points lie on one line, or in one place")


def _samples(count: int, seed: int) -> NDArray[np.int64]:
    """Return triples of indices: all of them where they are few, else random ones."""
    if math.comb(count, 3) <= MAX_SAMPLES:
        return np.array(list(itertools.combinations(range(count), 3)))
    generator = np.random.default_rng(seed)
    return np.array([generator.choice(count, 3, replace=False) for _ in range(MAX_SAMPLES)])
