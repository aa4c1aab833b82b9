"""How certain a pose is.

Errors of matches are not independent: what lies close together in the image shares the depth that
was inferred for it, and what comes from one reference shares the error of that reference's pose.
The sum of many matches then knows less than their number says. The cluster-robust ("sandwich")
covariance asks only that groups of matches be independent, and learns from the residuals how much
the members of a group go together (Liang and Zeger, "Longitudinal data analysis using generalized
linear models", Biometrika 1986; for groups of two kinds at once Cameron, Gelbach and Miller,
"Robust inference with multiway clustering", JBES 2011).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.pose import PoseHypothesis
from deviloc_ros.localization.refinement import projection_jacobian
from deviloc_ros.localization.types import Correspondences

# Cells along the longer side of an image: matches within one are taken to err together.
CELLS = 16
POSE_PARAMETERS = 6


def pose_covariance(
    hypothesis: PoseHypothesis,
    matches: Correspondences,
    camera: Camera,
    loss_scale: float,
    scale: tuple[float, float],
) -> NDArray[np.float64] | None:
    """Return the covariance of map_from_camera, or None where the pose is not determined.

    Args:
        hypothesis: the pose and its inliers.
        matches: of all references that it was estimated from, before they were merged.
        camera: intrinsics of the query.
        loss_scale: of the Cauchy loss in the refinement, query pixels.
        scale: factors on the position's and on the rotation's block, measured when the map was
            built: what all groups have in common does not show in the residuals.

    Returns:
        (6, 6) float64: x, y, z in the map frame (squared map units), then rotation about the map's
        x, y, z axes (squared radians), as in geometry_msgs/PoseWithCovariance; or None.
    """
    matches, residuals, derivative = agreeing(
        hypothesis.camera_from_map, matches, camera, _largest_error(hypothesis)
    )
    return m_estimate_covariance(
        derivative,
        residuals,
        matches.confidence,
        (image_cells(matches.keypoints, camera), matches.reference),
        loss_scale,
        scale,
    )


def agreeing(
    camera_from_map: Transform, matches: Correspondences, camera: Camera, max_error: float
) -> tuple[Correspondences, NDArray[np.float64], NDArray[np.float64]]:
    """Return matches near a pose, their residuals (N, 2) and derivatives (N, 2, 6), pixels.

    The derivatives are those of the projections by a shift of the camera in the map frame, then by
    a turn about the map's fixed axes.
    """
    pixels, derivative = projection_jacobian(camera, camera_from_map, matches.points3d)
    residuals = pixels - matches.keypoints
    near = np.linalg.norm(residuals, axis=1) <= max_error
    near &= np.isfinite(derivative).all(axis=(1, 2))
    return matches.select(near), residuals[near], derivative[near]


def image_cells(keypoints: NDArray[np.float64], camera: Camera) -> NDArray[np.int64]:
    """Return the number (N,) of the square of the image that each keypoint (N, 2) lies in."""
    columns = np.floor(keypoints * CELLS / max(camera.width, camera.height)).astype(np.int64)
    return np.asarray(columns[:, 0] + 2 * CELLS * columns[:, 1])


def m_estimate_covariance(
    derivative: NDArray[np.float64],
    residuals: NDArray[np.float64],
    weights: NDArray[np.float64],
    groups: tuple[NDArray[np.int64], NDArray[np.int64]],
    loss_scale: float,
    scale: tuple[float, float],
) -> NDArray[np.float64] | None:
    """Return the covariance of a body's pose, or None where it is not determined.

    With J the derivatives, psi the influence of the Cauchy loss, w the weights and u_g the sum of
    w J^T psi(r) over a group g, it is A^-1 B A^-1 with A = E[psi'] sum w J^T J and B = sum_g u_g
    u_g^T over groups of either kind. Groups of both kinds have matches in common, which makes B
    large rather than small; the scale makes up for it.

    Args:
        derivative: (N, 2, 6), of the projections by the body's shift and turn.
        residuals: (N, 2), in the same pixels.
        weights: (N,), of the matches.
        groups: two groupings of the matches, (N,) each: by place in the image (of one camera), and
            by reference.
        loss_scale: of the Cauchy loss in the refinement.
        scale: factors on the position's and on the rotation's block.
    """
    by_place, by_reference = (np.unique(group, return_inverse=True)[1] for group in groups)
    # The pose takes up as many groups as it has parameters: fewer say nothing about its errors.
    if not len(by_place) or by_place.max() < POSE_PARAMETERS:
        return None
    squared = np.sum((residuals / loss_scale) ** 2, axis=1)
    slope = np.average((1 / (1 + squared)) - squared / (1 + squared) ** 2, weights=weights)
    # Units differ between the columns; scaled to unit length they invert without losing digits.
    norm = np.sqrt(np.sum(derivative**2, axis=(0, 1)))
    if not (norm > 0).all() or slope <= 0:
        return None
    jacobian = derivative / norm
    rows = (jacobian * weights[:, None, None]).reshape(-1, POSE_PARAMETERS)
    information = slope * rows.T @ jacobian.reshape(-1, POSE_PARAMETERS)
    scores = np.einsum("nki,nk->ni", jacobian, residuals * (weights / (1 + squared))[:, None])
    scatter = _scatter(scores, by_place, POSE_PARAMETERS) + _scatter(scores, by_reference, 1)
    try:
        half = np.linalg.inv(information) / norm[:, None] * np.sqrt(np.repeat(scale, 3))[:, None]
    except np.linalg.LinAlgError:
        return None
    covariance = half @ scatter @ half.T
    covariance = (covariance + covariance.T) / 2
    if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 0:
        return None
    return np.asarray(covariance)


def _scatter(
    scores: NDArray[np.float64], group: NDArray[np.int64], used: int
) -> NDArray[np.float64]:
    """Return the sum of u u^T (6, 6) over groups, `used` of which the fit has used up."""
    sums = np.stack([np.bincount(group, column) for column in scores.T], axis=1)
    correction = len(sums) / (len(sums) - used) if len(sums) > used else 0.0
    return np.asarray(correction * sums.T @ sums)


def _largest_error(hypothesis: PoseHypothesis) -> float:
    """Return the reprojection error of the worst inlier, pixels."""
    errors = np.linalg.norm(hypothesis.residuals[hypothesis.inliers], axis=1)
    return float(errors.max(initial=0.0))
