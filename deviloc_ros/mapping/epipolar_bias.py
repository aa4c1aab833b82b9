"""The bias of XFeat*'s fine offsets, from matches between references with known poses.

A match must lie on its epipolar line whatever the depth, so that every match tells one component of
the bias; a match of an observed point tells both. Lines of many directions determine it fully.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.features import LEVELS
from deviloc_ros.mapping.map import Map
from deviloc_ros.mapping.view_matching import SeenAgain, triangulate

# What it mostly is with the published weights, network pixels (x, y), and how many matches that
# counts for: cameras that all move in one direction leave a component undetermined.
USUAL = np.array([-0.98, -1.13])
USUAL_WEIGHT = 300.0
# Residuals much beyond this are wrong matches; network pixels.
LOSS_SCALE = 1.0
ITERATIONS = 20


def estimate_bias(
    reference_map: Map, matches: Mapping[int, Sequence[SeenAgain]]
) -> NDArray[np.float64]:
    """Return the bias per level (levels, 2), network pixels.

    Args:
        reference_map: lifted; features of confidence 1 are taken to be where their point is.
        matches: for references by index, what their neighbours see.
    """
    bias = np.tile(USUAL, (len(LEVELS), 1))
    for level in range(len(LEVELS)):
        directions, errors = [np.zeros((0, 2))], [np.zeros(0)]
        for index, found in matches.items():
            for seen in found:
                if seen.level == level:
                    for direction, error in _equations(reference_map, index, seen, bias):
                        directions.append(direction)
                        errors.append(error)
        bias[level] += _robust_mean(np.concatenate(directions), np.concatenate(errors))
    return bias


def _equations(
    reference_map: Map, index: int, seen: SeenAgain, bias: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return directions (N, 2) and the errors along them (N,), network pixels."""
    measured = triangulate(reference_map, index, seen, bias)
    rows = reference_map.features_of(index)
    observed = reference_map.confidence[rows][seen.feature] == 1.0
    sound = np.isfinite(measured.epipolar_error) & ~observed
    equations: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    equations.append((measured.across[sound], measured.epipolar_error[sound] / seen.scale))
    points = reference_map.feature_points[rows][seen.feature[observed]] + reference_map.origin
    other = reference_map.references[seen.neighbour]
    projected = other.camera.project(other.camera_from_map.apply(points))
    keypoints = seen.keypoints[observed] - bias[seen.level] * seen.scale
    errors = (keypoints - projected) / seen.scale
    errors = errors[np.isfinite(errors).all(axis=1)]
    for axis in np.eye(2):
        equations.append((np.tile(axis, (len(errors), 1)), errors @ axis))
    return equations


def _robust_mean(
    directions: NDArray[np.float64], errors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the shift (2,) that explains errors along directions, wrong ones among them."""
    shift: NDArray[np.float64] = np.zeros(2)
    for _ in range(ITERATIONS):
        squared = ((errors - directions @ shift) / LOSS_SCALE) ** 2
        weighted = directions / ((1.0 + squared) ** 2)[:, None]
        normal = weighted.T @ directions + USUAL_WEIGHT * np.eye(2)
        shift = np.asarray(np.linalg.solve(normal, weighted.T @ errors), dtype=np.float64)
    return shift
