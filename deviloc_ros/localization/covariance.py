"""How certain a pose is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.pose import PoseHypothesis
from deviloc_ros.localization.types import Correspondences

# 1.4826 MAD is the standard deviation of a normal distribution.
NORMAL_PER_MAD = 1.4826
STEP = 1e-6


def pose_covariance(
    hypothesis: PoseHypothesis,
    matches: Correspondences,
    camera: Camera,
    scale: tuple[float, float],
) -> NDArray[np.float64] | None:
    """Return the covariance of map_from_camera, or None where the pose is not determined.

    It is s^2 (J^T J)^-1 over the inliers, with s from their own residuals, and J the derivative of
    the projection by a shift of the camera in the map frame and a turn about the map's fixed axes.
    That is the order and the meaning of geometry_msgs/PoseWithCovariance.

    Args:
        hypothesis: the pose and its inliers.
        matches: what it was estimated from.
        camera: intrinsics of the query.
        scale: factors on the position's and on the rotation's block, measured when the map was
            built: errors of the map and of neighbouring matches are not independent.

    Returns:
        (6, 6) float64: x, y, z in the map frame (squared map units), then rotation about the map's
        x, y, z axes (squared radians); or None.
    """
    points = matches.points3d[hypothesis.inliers]
    if len(points) < 4:
        return None
    rotation = hypothesis.camera_from_map.rotation
    in_camera = hypothesis.camera_from_map.apply(points)
    # A shift d of the camera moves points by -R d, a turn w about its centre by -R (w x (p - c)).
    matrix = rotation.as_matrix()
    from_centre = points - hypothesis.camera_from_map.inverse().translation
    depth = np.median(in_camera[:, 2])
    columns = []
    base = camera.project(in_camera)
    for axis in np.eye(3):
        step = STEP * depth
        columns.append((camera.project(in_camera - step * matrix @ axis) - base) / step)
    for axis in np.eye(3):
        turned = in_camera - STEP * np.cross(axis, from_centre) @ matrix.T
        columns.append((camera.project(turned) - base) / STEP)
    jacobian = np.stack(columns, axis=-1).reshape(-1, 6)
    residuals = hypothesis.residuals[hypothesis.inliers].reshape(-1)
    sound = np.isfinite(jacobian).all(axis=1)
    jacobian, residuals = jacobian[sound], residuals[sound]
    sigma = NORMAL_PER_MAD * float(np.median(np.abs(residuals)))
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
