"""How certain a pose is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.pose import MIN_MATCHES, PoseHypothesis
from deviloc_ros.localization.refinement import projection_jacobian
from deviloc_ros.localization.types import Correspondences


def pose_covariance(
    hypothesis: PoseHypothesis,
    matches: Correspondences,
    camera: Camera,
    loss_scale: float,
    scale: tuple[float, float],
) -> NDArray[np.float64] | None:
    """Return the covariance of map_from_camera, or None where the pose is not determined.

    It is s^2 (J^T J)^-1 over the inliers, with J the derivative of the projection by a shift of the
    camera in the map frame and a turn about the map's fixed axes: the order and the meaning of
    geometry_msgs/PoseWithCovariance. s^2 is the variance of an M-estimate with the loss that the
    pose was refined with, E[psi^2] / E[psi']^2 (Huber and Ronchetti, "Robust Statistics", 2009,
    section 7.6), from the inliers' own residuals.

    Args:
        hypothesis: the pose and its inliers.
        matches: what it was estimated from.
        camera: intrinsics of the query.
        loss_scale: of the Cauchy loss in the refinement, query pixels.
        scale: factors on the position's and on the rotation's block, measured when the map was
            built: errors of the map and of neighbouring matches are not independent.

    Returns:
        (6, 6) float64: x, y, z in the map frame (squared map units), then rotation about the map's
        x, y, z axes (squared radians); or None.
    """
    points = matches.points3d[hypothesis.inliers]
    if len(points) < MIN_MATCHES:
        return None
    _, derivative = projection_jacobian(camera, hypothesis.camera_from_map, points)
    return m_estimate_covariance(
        derivative, hypothesis.residuals[hypothesis.inliers], loss_scale, scale
    )


def m_estimate_covariance(
    derivative: NDArray[np.float64],
    residuals: NDArray[np.float64],
    loss_scale: float,
    scale: tuple[float, float],
) -> NDArray[np.float64] | None:
    """Return the covariance of a body's pose, or None where it is not determined; see above.

    Args:
        derivative: (N, 2, 6), of the inliers' projections by the body's shift and turn.
        residuals: (N, 2) of the inliers, in the same pixels.
        loss_scale: of the Cauchy loss in the refinement.
        scale: factors on the position's and on the rotation's block.
    """
    jacobian = derivative[np.isfinite(derivative).all(axis=(1, 2))].reshape(-1, 6)
    sigma = _estimate_sigma(residuals, loss_scale)
    # Units differ between the columns; scaled to unit length they invert without losing digits.
    norm = np.linalg.norm(jacobian, axis=0)
    if not (norm > 0).all() or sigma <= 0:
        return None
    try:
        information = (jacobian / norm).T @ (jacobian / norm)
        inverse = np.linalg.inv(information)
    except np.linalg.LinAlgError:
        return None
    factor = np.sqrt(np.repeat(scale, 3)) * sigma / norm
    covariance = inverse * np.outer(factor, factor)
    covariance = (covariance + covariance.T) / 2
    if not np.isfinite(covariance).all() or np.linalg.eigvalsh(covariance).min() <= 0:
        return None
    return np.asarray(covariance)


def _estimate_sigma(residuals: NDArray[np.float64], loss_scale: float) -> float:
    """Return the standard deviation that residuals (N, 2) have for a Cauchy M-estimate."""
    squared = np.sum((residuals / loss_scale) ** 2, axis=1)
    influence = np.sum(residuals**2, axis=1) / (1 + squared) ** 2
    slope = 1 / (1 + squared) - squared / (1 + squared) ** 2
    mean_slope = float(np.mean(slope))
    return float(np.sqrt(np.mean(influence) / 2)) / mean_slope if mean_slope > 0 else np.inf
