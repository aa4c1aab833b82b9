"""Guided matching of two images of which nothing else is known.

A pair has no depths and no poses: where the localizer looks for a feature near where its pose and
its depth put it, a pair looks near its epipolar line, and near where its neighbours went.
"""

from __future__ import annotations

import cv2
import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.localization.context.guided import Windows

# Matches around a feature that say where it went.
NEIGHBOURS = 6
# Of a fundamental matrix: fewest matches that determine it.
MIN_MATCHES = 8


def fundamental_matrix(
    query: NDArray[np.float64], reference: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return F, x_query' F x_reference = 0, by RANSAC, and which matches (N, 2) agree with it."""
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = threshold, 0
    options.confidence, options.max_num_trials = 0.9999, 10000
    options.min_num_trials = 1000
    found = None
    if len(query) >= MIN_MATCHES:
        found = pycolmap.estimate_fundamental_matrix(reference, query, options)
    if found is None:
        return np.zeros((3, 3)), np.zeros(len(query), dtype=np.bool_)
    return np.asarray(found["F"]), np.asarray(found["inlier_mask"], dtype=np.bool_)


def epipolar_windows(
    keypoints: NDArray[np.float64],
    fundamental: NDArray[np.float64],
    query_seeds: NDArray[np.float64],
    reference_seeds: NDArray[np.float64],
    across: float,
    along: float,
) -> Windows:
    """Return where the features of an image lie in another: near a line, and near their neighbours.

    Args:
        keypoints: (M, 2), of the reference, pixels.
        fundamental: (3, 3), x_query' F x_reference = 0.
        query_seeds: (S, 2), matches that agree with it, S >= 4.
        reference_seeds: (S, 2).
        across: half the windows' width, pixels of the query.
        along: half their length.
    """
    # Where neighbours went: an affine map of the whole image, and what they have left over.
    affine, _ = cv2.estimateAffine2D(
        reference_seeds, query_seeds, method=cv2.RANSAC, ransacReprojThreshold=2 * along
    )
    moved = keypoints @ affine[:, :2].T + affine[:, 2]
    left_over = query_seeds - (reference_seeds @ affine[:, :2].T + affine[:, 2])
    count = min(NEIGHBOURS, len(reference_seeds))
    distance, near = cKDTree(reference_seeds).query(keypoints, k=count)
    weight = 1 / (np.reshape(distance, (-1, count)) + 10.0)
    weight /= weight.sum(axis=1, keepdims=True)
    moved += np.einsum("mk,mkc->mc", weight, left_over[np.reshape(near, (-1, count))])
    lines = np.column_stack([keypoints, np.ones(len(keypoints))]) @ fundamental.T
    normal = lines[:, :2] / np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    offset = lines[:, 2] / np.linalg.norm(lines[:, :2], axis=1)
    centre = moved - normal * (np.sum(moved * normal, axis=1) + offset)[:, None]
    direction = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    return Windows(centre, direction, np.tile([along, across], (len(keypoints), 1)))
