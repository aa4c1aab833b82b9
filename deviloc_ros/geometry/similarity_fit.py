"""Find the similarity transform between corresponding points or cameras, outliers among them.

S. Umeyama: "Least-squares estimation of transformation parameters between two point patterns",
PAMI 1991; the robust search is least median of squares, P. Rousseeuw, JASA 1984, which needs no
threshold, so no knowledge of the units.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform

MAX_SAMPLES = 1000
MAX_REFINEMENTS = 10
INLIER_SIGMAS = 3.5
CHI3_MEDIAN = 1.538
# Below this ratio of extents points lie on one line for any rotation that is to be found.
MIN_EXTENT_RATIO = 1e-3


class UnderdeterminedError(ValueError):
    """The points do not hold a similarity transform; the message says why."""


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


def fit_positions(
    source: ArrayLike, target: ArrayLike, fixed_scale: bool = False, seed: int = 0
) -> SimilarityFit:
    """Find target_from_source from points, of which nearly half may be wrong.

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
        raise UnderdeterminedError(f"{len(source)} positions correspond, at least 3 are needed")
    fit = _least_median(
        source,
        target,
        3,
        lambda chosen: umeyama(source[chosen], target[chosen], fixed_scale),
        np.ones(len(source)),
        seed,
    )
    if fit is None or _is_line(source[fit.inliers]) or _is_line(target[fit.inliers]):
        raise UnderdeterminedError("the positions lie on one line, or in one place")
    return fit


def fit_cameras(
    source: Sequence[Transform],
    target: Sequence[Transform],
    fixed_scale: bool = False,
    seed: int = 0,
    sigmas: NDArray[np.float64] | None = None,
) -> SimilarityFit:
    """Find target_from_source from the poses of cameras, of which nearly half may be wrong.

    The rotation is the mean of what the cameras' orientations say, so that cameras on one line
    suffice; scale and translation come from their positions.

    Args:
        source: camera_from_source of N cameras.
        target: camera_from_target of the same cameras.
        fixed_scale: keep the scale at 1 (a rigid transform).
        seed: of the random samples.
        sigmas: (N,) how uncertain each camera's pose is, in any unit; None: all alike.

    Raises:
        UnderdeterminedError: no cameras, or (with a scale to find) all in one place.
    """
    needed = 1 if fixed_scale else 2
    if len(source) < needed:
        raise UnderdeterminedError(f"{len(source)} poses correspond, at least {needed} are needed")
    spreads = np.ones(len(source)) if sigmas is None else sigmas / np.median(sigmas)
    rotation = _mean_rotation(
        Rotation.concatenate(
            [b.rotation.inv() * a.rotation for a, b in zip(source, target, strict=True)]
        ),
        spreads**-2.0,
    )
    centres = np.array([pose.inverse().translation for pose in source])
    targets = np.array([pose.inverse().translation for pose in target])

    def shift(chosen: NDArray[Any]) -> Similarity | None:
        weight = spreads[chosen, None] ** -2.0
        weight = weight / weight.sum()
        a, b = rotation.apply(centres[chosen]), targets[chosen]
        centre, goal = (weight * a).sum(axis=0), (weight * b).sum(axis=0)
        square = float((weight * (a - centre) ** 2).sum())
        if fixed_scale:
            scale = 1.0
        elif square <= (1e-9 * max(float(np.abs(a).max()), 1e-9)) ** 2:
            return None
        else:
            scale = float((weight * (a - centre) * (b - goal)).sum()) / square
        if scale <= 0:
            return None
        return Similarity(scale, rotation, goal - scale * centre)

    fit = _least_median(centres, targets, needed, shift, spreads, seed)
    if fit is None:
        raise UnderdeterminedError("the positions of the cameras do not give a scale")
    return fit


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


def _least_median(
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    sample_size: int,
    fit: Callable[[NDArray[Any]], Similarity | None],
    spreads: NDArray[np.float64],
    seed: int,
) -> SimilarityFit | None:
    """Return the fit to a small sample with the least median residual, refined on its inliers.

    Args:
        source: (N, 3) points.
        target: (N, 3) the same points in the target frame.
        sample_size: points that a fit needs.
        fit: to the points that an index or a mask chooses.
        spreads: (N,) how uncertain each point is beside the others.
        seed: of the random samples.
    """

    def distances(transform: Similarity) -> NDArray[np.float64]:
        return _distances(transform, source, target) / spreads

    redundancy = len(source) - sample_size
    everything = np.ones(len(source), dtype=bool)
    if redundancy < 2:
        # With one point to spare any sample would make an outlier of it: fit them all.
        best, inliers = fit(everything), everything
    else:
        best, inliers = None, everything
        least = math.inf
        for sample in _samples(len(source), sample_size, seed):
            candidate = fit(sample)
            if candidate is None:
                continue
            median = float(np.median(distances(candidate)))
            if median < least:
                best, least = candidate, median
        # Rousseeuw's estimate of sigma; 1.538 is the median of a 3D residual of unit sigma.
        sigma = (1 + 5 / redundancy) * least / CHI3_MEDIAN
        radius = max(INLIER_SIGMAS * sigma, 1e-9 * float(np.abs(target).max()))
        for _ in range(MAX_REFINEMENTS):
            if best is None:
                break
            chosen = distances(best) <= radius
            refined = fit(chosen) if chosen.any() else None
            if refined is None or (chosen == inliers).all():
                break
            best, inliers = refined, chosen
    if best is None:
        return None
    return SimilarityFit(best, _distances(best, source, target), inliers)


def _mean_rotation(rotations: Rotation, weights: NDArray[np.float64]) -> Rotation:
    """Return the weighted mean of those rotations that agree with the most central one."""
    matrices = rotations.as_matrix().reshape(-1, 9)
    # The trace of R_i^T R_j, hence the angle between the two, is a product of the flat matrices.
    step = math.ceil(len(matrices) / MAX_SAMPLES)
    cosines = (matrices @ matrices[::step].T - 1) / 2
    angles = np.arccos(np.clip(cosines, -1, 1))
    medians = np.median(angles, axis=0)
    centre = int(np.argmin(medians))
    agrees = angles[:, centre] <= max(INLIER_SIGMAS / CHI3_MEDIAN * medians[centre], 1e-6)
    return rotations[agrees].mean(weights[agrees])


def _distances(
    transform: Similarity, source: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(transform.apply(source) - target, axis=1))


def _is_line(points: NDArray[np.float64]) -> bool:
    along, across, _ = extents(points)
    return bool(across <= max(MIN_EXTENT_RATIO * along, 1e-12 * float(np.abs(points).max())))


def _samples(count: int, size: int, seed: int) -> NDArray[np.int64]:
    """Return sets of indices: all of them where they are few, else random ones."""
    if math.comb(count, size) <= MAX_SAMPLES:
        return np.array(list(itertools.combinations(range(count), size)))
    generator = np.random.default_rng(seed)
    return np.array([generator.choice(count, size, replace=False) for _ in range(MAX_SAMPLES)])
