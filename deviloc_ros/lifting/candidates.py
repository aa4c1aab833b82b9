"""What a keypoint's depth may be, as far as the points around it tell: input of the learned PIN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.lifting.geometric import GeometricInference

NEIGHBOURS = 16
# The geometric answer and two planes, then the neighbours.
FIRST_NEIGHBOUR = 3
NUM_CANDIDATES = NEIGHBOURS + FIRST_NEIGHBOUR
NUM_INPUTS = 15
# Ratios of inverse depths are taken as this many times their logarithm, and squashed.
RATIO_GAIN = 50.0
PLANE_BOUNDS = (0.3, 3.0)
# Least roughness: no map's points are better than that, log of depth.
SMOOTH = 1e-4
# A plane goes through so few points anyhow.
PLANE_POINTS = 4


@dataclass(frozen=True)
class Candidates:
    """Candidates for the inverse depth of each keypoint, and what surrounds them.

    Attributes:
        base: (N,) float64, the geometric answer's inverse depth.
        log_ratio: (N, C) float32, logarithm of a candidate's inverse depth over the base.
        inputs: (N, C, NUM_INPUTS) float32, of the network; none changes with the scene's scale.
        valid: (N, C) bool, False where a view has fewer points.
        roughness: (N,) float32, how far neighbours are off a plane, log of depth: noise of the
            points and shape of the surface. The network moves candidates in units of it.
    """

    base: NDArray[np.float64]
    log_ratio: NDArray[np.float32]
    inputs: NDArray[np.float32]
    valid: NDArray[np.bool_]
    roughness: NDArray[np.float32]


def find_candidates(
    keypoints: NDArray[np.float64],
    observations: NDArray[np.float64],
    depths: NDArray[np.float64],
) -> Candidates:
    """Return the candidates of keypoints of one view; arguments as of PointInference."""
    geometric, certainty = GeometricInference()(keypoints, observations, depths)
    count = min(NEIGHBOURS, len(observations))
    distance, nearest = cKDTree(observations).query(keypoints, k=count)
    distance = np.reshape(distance, (len(keypoints), count))
    nearest = np.reshape(nearest, (len(keypoints), count))
    inverse = 1.0 / depths[nearest]
    base = 1.0 / geometric
    reach = np.maximum(distance.mean(axis=1), 1e-3)
    offset = (observations[nearest] - keypoints[:, None]) / reach[:, None, None]
    nearness = 1.0 / (distance / reach[:, None] + 0.1) ** 2
    near, residual = _plane(offset, nearness, inverse)
    # Where points are noisy, more of them have to be averaged.
    wide, _ = _plane(offset, np.ones_like(nearness), inverse)
    spread = np.log(inverse.max(axis=1) / inverse.min(axis=1))
    roughness = np.sqrt((nearness * residual**2).sum(axis=1) / nearness.sum(axis=1))
    if count <= PLANE_POINTS:
        roughness = np.maximum(roughness, spread / 4.0)
    roughness = np.hypot(roughness, SMOOTH)

    shape = (len(keypoints), NUM_CANDIDATES)
    last = FIRST_NEIGHBOUR + count
    log_ratio = np.zeros(shape)
    log_ratio[:, 1] = np.log(near / base)
    log_ratio[:, 2] = np.log(wide / base)
    log_ratio[:, FIRST_NEIGHBOUR:last] = np.log(inverse / base[:, None])
    valid = np.zeros(shape, dtype=np.bool_)
    valid[:, :last] = True
    inputs = np.zeros((*shape, NUM_INPUTS))
    inputs[:, 0, 0] = inputs[:, 1, 1] = inputs[:, 2, 2] = 1.0
    inputs[:, FIRST_NEIGHBOUR:last, 3:5] = offset
    inputs[:, FIRST_NEIGHBOUR:last, 5] = np.log(distance / reach[:, None] + 0.05)
    inputs[:, :, 6] = np.arcsinh(RATIO_GAIN * log_ratio) / 4.0
    inputs[:, :, 7] = np.log(reach / 50.0)[:, None]
    inputs[:, :, 8] = np.log(distance[:, 0] / reach + 0.05)[:, None]
    inputs[:, :, 9] = certainty[:, None]
    inputs[:, :, 10] = np.log(spread + 0.01)[:, None] / 2.0
    inputs[:, :, 11] = np.log(roughness / 0.01)[:, None] / 2.0
    inputs[:, :, 12] = np.arcsinh(log_ratio / roughness[:, None]) / 2.0
    inputs[:, FIRST_NEIGHBOUR:last, 13] = np.arcsinh(residual / roughness[:, None])
    inputs[:, FIRST_NEIGHBOUR:last, 14] = 1.0
    return Candidates(
        base,
        log_ratio.astype(np.float32),
        inputs.astype(np.float32),
        valid,
        roughness.astype(np.float32),
    )


def _plane(
    offset: NDArray[np.float64], weight: NDArray[np.float64], inverse: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fit planes to the K neighbours of each keypoint: inverse depth is linear over their image.

    Args:
        offset: (N, K, 2) where neighbours are from the keypoint.
        weight: (N, K) how much each counts.
        inverse: (N, K) their inverse depths.

    Returns:
        The inverse depth (N,) of the plane at the keypoint, and how far the neighbours (N, K) are
        off it, log of inverse depth.
    """
    terms = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], axis=2)
    normal = np.einsum("nk,nki,nkj->nij", weight, terms, terms)
    # Neighbours on a line leave a slope open: it is then none.
    normal += 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.diag([0.0, 1.0, 1.0])
    right = np.einsum("nk,nki,nk->ni", weight, terms, inverse)
    solved = np.linalg.solve(normal, right[..., None])
    low, high = inverse.min(axis=1) * PLANE_BOUNDS[0], inverse.max(axis=1) * PLANE_BOUNDS[1]
    fitted = np.clip((terms @ solved)[..., 0], low[:, None], high[:, None])
    return np.clip(solved[:, 0, 0], low, high), np.log(inverse / fitted)
