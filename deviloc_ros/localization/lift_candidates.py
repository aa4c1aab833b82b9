"""What a keypoint's depth may be, as far as the points around it tell: input of the learned PIN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.localization.lifting import GeometricInference

NEIGHBOURS = 16
# The geometric answer and a plane, then the neighbours.
NUM_CANDIDATES = NEIGHBOURS + 2
NUM_INPUTS = 11
# Ratios of inverse depths are taken as this many times their logarithm, and squashed.
RATIO_GAIN = 50.0
PLANE_BOUNDS = (0.3, 3.0)


@dataclass(frozen=True)
class Candidates:
    """Candidates for the inverse depth of each keypoint, and what surrounds them.

    Attributes:
        base: (N,) float64, the geometric answer's inverse depth.
        log_ratio: (N, C) float32, logarithm of a candidate's inverse depth over the base.
        inputs: (N, C, NUM_INPUTS) float32, of the network; none changes with the scene's scale.
        valid: (N, C) bool, False where a view has fewer points.
    """

    base: NDArray[np.float64]
    log_ratio: NDArray[np.float32]
    inputs: NDArray[np.float32]
    valid: NDArray[np.bool_]


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
    plane = _plane(offset, distance / reach[:, None], inverse)

    shape = (len(keypoints), NUM_CANDIDATES)
    log_ratio = np.zeros(shape)
    log_ratio[:, 1] = np.log(plane / base)
    log_ratio[:, 2 : 2 + count] = np.log(inverse / base[:, None])
    valid = np.zeros(shape, dtype=np.bool_)
    valid[:, : 2 + count] = True
    inputs = np.zeros((*shape, NUM_INPUTS))
    inputs[:, 0, 0] = inputs[:, 1, 1] = 1.0
    inputs[:, 2:, 2] = 1.0
    inputs[:, 2 : 2 + count, 3:5] = offset
    inputs[:, 2 : 2 + count, 5] = np.log(distance / reach[:, None] + 0.05)
    inputs[:, :, 6] = np.arcsinh(RATIO_GAIN * log_ratio) / 4.0
    inputs[:, :, 7] = np.log(reach / 50.0)[:, None]
    inputs[:, :, 8] = np.log(distance[:, 0] / reach + 0.05)[:, None]
    inputs[:, :, 9] = certainty[:, None]
    spread = np.log(inverse.max(axis=1) / inverse.min(axis=1))
    inputs[:, :, 10] = np.log(spread + 0.01)[:, None] / 2.0
    return Candidates(base, log_ratio.astype(np.float32), inputs.astype(np.float32), valid)


def _plane(
    offset: NDArray[np.float64], distance: NDArray[np.float64], inverse: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return at each keypoint the inverse depth (N,) of a plane fitted to its neighbours.

    Inverse depth is linear over the image of a plane; the nearer, the more a neighbour counts.
    """
    weight = 1.0 / (distance + 0.1) ** 2
    terms = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], axis=2)
    normal = np.einsum("nk,nki,nkj->nij", weight, terms, terms)
    # Neighbours on a line leave a slope open: it is then none.
    normal += 1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.diag([0.0, 1.0, 1.0])
    right = np.einsum("nk,nki,nk->ni", weight, terms, inverse)
    level = np.linalg.solve(normal, right[..., None])[:, 0, 0]
    low, high = inverse.min(axis=1), inverse.max(axis=1)
    return np.asarray(np.clip(level, low * PLANE_BOUNDS[0], high * PLANE_BOUNDS[1]))
