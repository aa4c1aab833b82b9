"""Calibration of a raw RobotCar sequence: camera models, undistortion tables, extrinsics.

A camera model is a text file: the line "fx fy cx cy", then the rows of the 4x4 matrix
`G_camera_image`. Beside it lies its table, `NAME_distortion_lut.bin`: float64, first the x then the
y of the distorted pixel for each pixel of the undistorted image, row by row, first pixel at (0, 0).
An extrinsics file is the line "x y z roll pitch yaw".

Frames of the RobotCar data sets, and how they relate to ROS' (REP-103).

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
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.lines import numbers, read_lines
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import MAX_PIXELS

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


EXTRINSICS_LINE = "x y z roll pitch yaw"
MAX_FOCAL_LENGTH = 1e6


@dataclass(frozen=True)
class CameraModel:
    """What a model's text file says.

    Attributes:
        focal: fx, fy of the undistorted image, pixels.
        centre: cx, cy, pixels; the first pixel's centre is at (0, 0).
        camera_from_optical: `G_camera_image`.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    camera_from_optical: Transform

    def camera(self, width: int, height: int) -> Camera:
        """Return the camera of the undistorted image: a pinhole, in COLMAP's pixel convention."""
        (fx, fy), (cx, cy) = self.focal, self.centre
        return Camera("PINHOLE", width, height, (fx, fy, cx + 0.5, cy + 0.5))


@dataclass(frozen=True)
class UndistortionTable:
    """Where each pixel of the undistorted image lies in the distorted one.

    Attributes:
        x: (H, W) float32, pixels; the first pixel's centre is at (0, 0).
        y: (H, W) float32.
    """

    x: NDArray[np.float32]
    y: NDArray[np.float32]

    def undistort(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the undistorted image; black where it looks beyond the distorted one."""
        remapped = cv2.remap(image, self.x, self.y, cv2.INTER_LINEAR)
        return np.asarray(remapped, dtype=np.uint8)


def read_camera_model(path: Path) -> CameraModel:
    """Read the text file of a camera model.

    Raises:
        InputError: it cannot be read, or a line of it is wrong.
    """
    rows = [
        (place, numbers(place, text.split(), "4 numbers a line"))
        for place, text in read_lines(path)
    ]
    if len(rows) != 5 or any(len(values) != 4 for _, values in rows):
        raise InputError(f"{path}: expected 'fx fy cx cy' and the 4 rows of G_camera_image")
    place, (fx, fy, cx, cy) = rows[0]
    if not (0 < fx < MAX_FOCAL_LENGTH and 0 < fy < MAX_FOCAL_LENGTH):
        raise InputError(f"{place}: the focal lengths {fx:g}, {fy:g} must be positive")
    transform = rigid(f"{path}: G_camera_image", np.array([values for _, values in rows[1:]]))
    return CameraModel((fx, fy), (cx, cy), transform)


def read_table_of(path: Path, width: int, height: int) -> UndistortionTable:
    """Read an undistortion table for images of a size.

    Raises:
        InputError: it cannot be read, is of another size, or holds what are no pixels.
    """
    expected = 2 * width * height * 8
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(f"{path}: images of {width} x {height} pixels are none or too large")
    try:
        size = path.stat().st_size
        if size != expected:
            raise InputError(
                f"{path}: is {size} bytes long; for images of {width} x {height} pixels it must "
                f"be {expected} (float64, x then y of each pixel)"
            )
        values = np.fromfile(path, dtype="<f8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if not np.isfinite(values).all() or np.abs(values).max() > 1e6:
        raise InputError(f"{path}: holds values that are no pixels; is it damaged?")
    x, y = values.reshape(2, height, width).astype(np.float32)
    return UndistortionTable(x, y)


def read_extrinsics(path: Path) -> Transform:
    """Read an extrinsics file as it stands: of cameras camera_from_vehicle, else the inverse.

    The data set uses one form for two things. For the INS (and lasers) the six numbers are
    vehicle_from_sensor, for cameras camera_from_vehicle; docs/robotcar.md says how that is known.

    Raises:
        InputError: it cannot be read, or does not hold six numbers.
    """
    rows = list(read_lines(path))
    if len(rows) != 1 or len(rows[0][1].split()) != 6:
        raise InputError(f"{path}: expected one line '{EXTRINSICS_LINE}'")
    place, text = rows[0]
    return from_xyz_rpy(numbers(place, text.split(), EXTRINSICS_LINE))


def rigid(what: str, matrix: NDArray[np.float64]) -> Transform:
    """Return a 4x4 matrix as a transform.

    Raises:
        InputError: it is not that of a rotation and a translation.
    """
    rotation = matrix[:3, :3]
    orthogonal = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3)
    if not orthogonal or np.linalg.det(rotation) < 0 or not np.allclose(matrix[3], (0, 0, 0, 1)):
        raise InputError(f"{what}: is not a rotation and a translation with the last row 0 0 0 1")
    return Transform.from_matrix(matrix)
