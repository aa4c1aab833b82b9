"""sensor_msgs/CameraInfo to `Camera`: distortion models, region of interest, binning, pixel centre.

ROS and OpenCV count pixels from the centre of the first pixel, COLMAP from its corner: principal
points move by half a pixel here, and nowhere else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

_SYNONYMS = {
    "none": ("", "none", "no_distortion", "undistorted", "pinhole"),
    "plumb_bob": ("plumb_bob", "radtan", "radial_tangential", "brown_conrady"),
    "rational_polynomial": ("rational_polynomial", "rational"),
    "equidistant": (
        "equidistant", "equi", "fisheye", "opencv_fisheye", "kannala_brandt", "kannala_brandt4",
        "kb4",
    ),
}  # fmt: skip
"""What drivers and calibration tools call the models of sensor_msgs/distortion_models."""
_KINDS = {name: kind for kind, names in _SYNONYMS.items() for name in names}


class RegionOfInterestMessage(Protocol):
    """What is read of a sensor_msgs/RegionOfInterest."""

    x_offset: int
    y_offset: int
    height: int
    width: int


class CameraInfoMessage(Protocol):
    """What is read of a sensor_msgs/CameraInfo."""

    height: int
    width: int
    distortion_model: str
    d: Any
    k: Any
    r: Any
    p: Any
    binning_x: int
    binning_y: int
    roi: Any


def camera_from_info(
    info: CameraInfoMessage, image_size: tuple[int, int], rectified: bool = False
) -> Camera:
    """Return the camera of an image of `image_size` (width, height) pixels.

    K, D and P describe the full sensor; the region of interest is cut out of it and then binned
    (CameraInfo.msg). A binned pixel is the mean of its neighbourhood, so its corner, not its
    centre, stays where it was.

    Args:
        info: the message.
        image_size: width and height of the image that belongs to it.
        rectified: the image is rectified (`image_rect`): P holds, and K and D do not. Its fourth
            column says where a stereo pair's other camera is; this camera is where its own optical
            frame is.

    Raises:
        InputError: not calibrated, an unknown distortion model, or a size that is not the image's.
    """
    binning = max(info.binning_x, 1), max(info.binning_y, 1)
    region: RegionOfInterestMessage = info.roi
    whole = region.width == 0 or region.height == 0
    sensor = (info.width, info.height) if whole else (region.width, region.height)
    offset = (0, 0) if whole else (region.x_offset, region.y_offset)
    if offset[0] + sensor[0] > info.width or offset[1] + sensor[1] > info.height:
        raise InputError(
            f"camera_info: the region of interest, {sensor[0]} x {sensor[1]} pixels at "
            f"{offset[0]}, {offset[1]}, is not within the sensor's {info.width} x {info.height}"
        )
    size = sensor[0] // binning[0], sensor[1] // binning[1]
    if size != tuple(image_size):
        raise InputError(
            f"camera_info describes images of {size[0]} x {size[1]} pixels "
            f"(region of interest and binning applied), the image has {image_size[0]} x "
            f"{image_size[1]}; calibrate for this size or set roi and binning"
        )
    matrix = np.asarray(info.p if rectified else info.k, dtype=np.float64).reshape(3, -1)
    name = "P" if rectified else "K"
    fx, fy = matrix[0, 0], matrix[1, 1]
    if not np.all(np.isfinite(matrix)):
        raise InputError(
            f"camera_info: {name} = {matrix.ravel().tolist()} has no number: not calibrated"
        )
    if fx <= 0 or fy <= 0:
        raise InputError(
            f"camera_info: the focal lengths in {name} are {fx:g}, {fy:g}: not calibrated"
        )
    if abs(matrix[0, 1]) > 1e-6 * fx:
        raise InputError(f"camera_info: {name}[1] = {matrix[0, 1]:g}: skew is not supported")
    focal_and_centre = (
        fx / binning[0],
        fy / binning[1],
        (matrix[0, 2] + 0.5 - offset[0]) / binning[0],
        (matrix[1, 2] + 0.5 - offset[1]) / binning[1],
    )
    coefficients = () if rectified else tuple(float(value) for value in info.d)
    distortion = "none" if rectified else info.distortion_model
    model, distortion_params = _distortion(distortion, coefficients)
    params = tuple(float(value) for value in focal_and_centre) + distortion_params
    return Camera(model, size[0], size[1], params)


def rectified_from_camera(info: CameraInfoMessage) -> Transform:
    """Return the rotation R of a rectified image's camera against the message's optical frame.

    Raises:
        InputError: R is not a rotation (an all-zero R means none, as uncalibrated drivers send).
    """
    matrix = np.asarray(info.r, dtype=np.float64).reshape(3, 3)
    if not matrix.any():
        return Transform.identity()
    # First that they are numbers: products of others are warned of.
    near = bool((np.abs(matrix) < 2).all()) and np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-4)
    if not near or np.linalg.det(matrix) < 0:
        raise InputError(f"camera_info: R = {matrix.ravel().tolist()} is not a rotation")
    return Transform(Rotation.from_matrix(matrix), np.zeros(3))


def _distortion(name: str, d: Sequence[float]) -> tuple[str, tuple[float, ...]]:
    """Return COLMAP's model and its distortion parameters for ROS' distortion model."""
    kind = _KINDS.get(re.sub(r"[\s-]+", "_", name.strip().lower()))
    if kind is None:
        raise InputError(
            f"camera_info: distortion model {name!r} is unknown; known are {', '.join(_KINDS)[2:]}"
        )
    for index, value in enumerate(d):
        if not math.isfinite(value):
            raise InputError(f"camera_info: D[{index}] = {value}: is not a finite number")
    if kind == "equidistant":
        # Not a pinhole where all are zero: the angle, not its tangent, grows with the radius.
        if len(d) < 4 or any(d[4:]):
            raise InputError(f"camera_info: D has {len(d)} coefficients; {name} takes 4")
        return "OPENCV_FISHEYE", tuple(d[:4])
    if not any(d):
        return "PINHOLE", ()
    if kind == "plumb_bob" and len(d) in (4, 5):
        k1, k2, p1, p2, k3 = (*d, 0.0)[:5]
        if k3 == 0.0:
            return "OPENCV", (k1, k2, p1, p2)
        return "FULL_OPENCV", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    # 12 and 14 coefficients are OpenCV's thin prism and tilted sensor, which COLMAP lacks.
    if kind == "rational_polynomial" and len(d) in (8, 12, 14) and not any(d[8:]):
        return "FULL_OPENCV", tuple(d[:8])
    raise InputError(
        f"camera_info: distortion model {name!r} with D = {list(d)} is not supported; supported "
        "are plumb_bob (4 or 5), rational_polynomial (8), equidistant (4) and all zeros"
    )
