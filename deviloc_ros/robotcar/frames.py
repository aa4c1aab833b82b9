"""Frames of the RobotCar data sets, and how they relate to ROS' (REP-103).

| frame | axes |
|---|---|
| vehicle | the data set's: x forward, y right, z down; origin at the stereo camera |
| base | ROS' base_link: x forward, y left, z up; the same origin |
| camera | of a raw sequence's camera: x forward (along the view), y right, z down |
| optical | of an image: z forward, x right, y down; `G_camera_image` is camera_from_optical |
| ned | of INS and RTK: x north, y east, z down; UTM coordinates |
| enu | ROS' for outdoor maps: x east, y north, z up |
| car | RobotCar Seasons': the optical frame of the stereo camera |

Roll, pitch and yaw are rotations about the fixed x, y and z axes, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform

BASE_FROM_VEHICLE = Transform(Rotation.from_matrix(np.diag([1.0, -1.0, -1.0])), np.zeros(3))
CAMERA_FROM_OPTICAL = Transform(
    Rotation.from_matrix([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.zeros(3)
)
ENU_FROM_NED = Transform(
    Rotation.from_matrix([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]]), np.zeros(3)
)
# The car frame of RobotCar Seasons has the axes of an image, at the vehicle's origin.
BASE_FROM_CAR = BASE_FROM_VEHICLE @ CAMERA_FROM_OPTICAL


def from_xyz_rpy(values: Sequence[float]) -> Transform:
    """Return the transform of six numbers: x, y, z (metres), roll, pitch, yaw (radians)."""
    x, y, z, roll, pitch, yaw = values
    return Transform(Rotation.from_euler("xyz", [roll, pitch, yaw]), np.array([x, y, z]))


def to_xyz_rpy(transform: Transform) -> tuple[float, ...]:
    """Return the six numbers of a transform: the inverse of `from_xyz_rpy`."""
    angles = transform.rotation.as_euler("xyz")
    return tuple(float(value) for value in (*transform.translation, *angles))
