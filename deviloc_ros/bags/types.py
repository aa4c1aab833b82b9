"""ROS 2's standard message types for bags, and how this project's values become such messages.

The types are those of rosbags, built from the message definitions; no ROS is needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_typestore

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns

TYPESTORE = get_typestore(Stores.ROS2_KILTED)


def message(kind: str, **fields: Any) -> Any:
    """Return a message such as message("std_msgs/msg/String", data="x")."""
    return TYPESTORE.types[kind](**fields)


def time(nanoseconds: int) -> Any:
    """Return builtin_interfaces/Time."""
    seconds, rest = divmod(nanoseconds, NANOSECONDS)
    return message("builtin_interfaces/msg/Time", sec=seconds, nanosec=rest)


def header(stamp: int, frame: str) -> Any:
    """Return std_msgs/Header; stamp in nanoseconds."""
    return message("std_msgs/msg/Header", stamp=time(stamp), frame_id=frame)


def stamp_of(sent: Any) -> int:
    """Return the header's stamp of a message, nanoseconds."""
    return stamp_ns(sent.header.stamp)


def image(stamp: int, frame: str, pixels: NDArray[np.uint8], encoding: str | None = None) -> Any:
    """Return sensor_msgs/Image from (H, W) gray or (H, W, 3) RGB, or as a named encoding."""
    height, width = pixels.shape[:2]
    return message(
        "sensor_msgs/msg/Image",
        header=header(stamp, frame),
        height=height,
        width=width,
        encoding=encoding or ("mono8" if pixels.ndim == 2 else "rgb8"),
        is_bigendian=0,
        step=width * (1 if pixels.ndim == 2 else 3),
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


def compressed_image(stamp: int, frame: str, content: bytes, format: str) -> Any:
    """Return sensor_msgs/CompressedImage of an image file's bytes."""
    return message(
        "sensor_msgs/msg/CompressedImage",
        header=header(stamp, frame),
        format=format,
        data=np.frombuffer(content, np.uint8),
    )


def camera_info(stamp: int, frame: str, camera: Camera) -> Any:
    """Return sensor_msgs/CameraInfo: ROS counts from the centre of the first pixel.

    Args:
        stamp: nanoseconds.
        frame: the optical frame.
        camera: PINHOLE or OPENCV (plumb_bob), or OPENCV_FISHEYE (equidistant).
    """
    if camera.model not in ("PINHOLE", "OPENCV", "OPENCV_FISHEYE"):
        raise ValueError(f"camera_info of a {camera.model} camera is not written")
    fx, fy, cx, cy, *coefficients = camera.params
    cx, cy = cx - 0.5, cy - 0.5
    fisheye = camera.model == "OPENCV_FISHEYE"
    return message(
        "sensor_msgs/msg/CameraInfo",
        header=header(stamp, frame),
        height=camera.height,
        width=camera.width,
        distortion_model="equidistant" if fisheye else "plumb_bob",
        d=np.array(coefficients if fisheye else [*(coefficients or (0.0,) * 4), 0.0]),
        k=np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1]),
        r=np.eye(3).ravel(),
        p=np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1, 0]),
        binning_x=0,
        binning_y=0,
        roi=message(
            "sensor_msgs/msg/RegionOfInterest",
            x_offset=0,
            y_offset=0,
            height=0,
            width=0,
            do_rectify=False,
        ),
    )


def pose(map_from_body: Transform) -> Any:
    """Return geometry_msgs/Pose."""
    return message(
        "geometry_msgs/msg/Pose",
        position=_point("geometry_msgs/msg/Point", map_from_body),
        orientation=_quaternion(map_from_body),
    )


def pose_with_covariance(
    stamp: int, frame: str, map_from_body: Transform, covariance: NDArray[np.float64]
) -> Any:
    """Return geometry_msgs/PoseWithCovarianceStamped; covariance (6, 6), x y z rx ry rz."""
    inner = message(
        "geometry_msgs/msg/PoseWithCovariance",
        pose=pose(map_from_body),
        covariance=np.asarray(covariance, dtype=np.float64).ravel(),
    )
    return message(
        "geometry_msgs/msg/PoseWithCovarianceStamped", header=header(stamp, frame), pose=inner
    )


def odometry(stamp: int, odom: str, base: str, odom_from_base: Transform) -> Any:
    """Return nav_msgs/Odometry without velocity (its covariance is marked unknown, -1)."""
    zero = message("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=0.0)
    unknown = np.zeros(36)
    unknown[0] = -1.0
    return message(
        "nav_msgs/msg/Odometry",
        header=header(stamp, odom),
        child_frame_id=base,
        pose=message(
            "geometry_msgs/msg/PoseWithCovariance",
            pose=pose(odom_from_base),
            covariance=np.zeros(36),
        ),
        twist=message(
            "geometry_msgs/msg/TwistWithCovariance",
            twist=message("geometry_msgs/msg/Twist", linear=zero, angular=zero),
            covariance=unknown,
        ),
    )


def tf(stamp: int, parent: str, child: str, parent_from_child: Transform) -> Any:
    """Return tf2_msgs/TFMessage with one transform."""
    transform = message(
        "geometry_msgs/msg/Transform",
        translation=_point("geometry_msgs/msg/Vector3", parent_from_child),
        rotation=_quaternion(parent_from_child),
    )
    stamped = message(
        "geometry_msgs/msg/TransformStamped",
        header=header(stamp, parent),
        child_frame_id=child,
        transform=transform,
    )
    return message("tf2_msgs/msg/TFMessage", transforms=[stamped])


def _point(kind: str, transform: Transform) -> Any:
    x, y, z = (float(value) for value in transform.translation)
    return message(kind, x=x, y=y, z=z)


def _quaternion(transform: Transform) -> Any:
    x, y, z, w = (float(value) for value in transform.quaternion_xyzw)
    return message("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
