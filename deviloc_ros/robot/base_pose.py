"""From the pose of the camera to the pose of the robot, with its covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class BasePose:
    """Where the robot is.

    Attributes:
        map_from_base: pose of the base frame in the map frame.
        covariance: (6, 6) float64: x, y, z (m, map frame), then rotation about the map's fixed
            x, y, z axes (rad), as geometry_msgs/PoseWithCovariance and robot_localization have it.
    """

    map_from_base: Transform
    covariance: NDArray[np.float64]


def base_pose(
    map_from_camera: Transform, covariance: NDArray[np.float64], base_from_camera: Transform
) -> BasePose:
    """Carry a camera's pose and its covariance over to the base.

    Both covariances use fixed axes of the map, so the rotation's block stays as it is; a rotation
    error dr of the camera moves the base by dr x lever, the lever being the vector from the camera
    to the base in the map frame (the adjoint of the shift between the two origins).

    Args:
        map_from_camera: pose of the camera.
        covariance: (6, 6) of that pose, in the order of `BasePose.covariance`.
        base_from_camera: where the camera sits on the robot, taken as exact.
    """
    map_from_base = map_from_camera @ base_from_camera.inverse()
    x, y, z = map_from_base.translation - map_from_camera.translation
    adjoint = np.eye(6)
    adjoint[:3, 3:] = -np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    moved = adjoint @ covariance @ adjoint.T
    return BasePose(map_from_base, (moved + moved.T) / 2)
