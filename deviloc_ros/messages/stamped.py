"""Stamps, frames and transforms out of ROS messages, of rclpy and of bags alike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import FARTHEST, Transform

UNIT_TOLERANCE = 5e-3
"""So far the length of a quaternion may be off 1; about what tf2 allows."""


class StampMessage(Protocol):
    """What is read of a builtin_interfaces/Time."""

    sec: int
    nanosec: int


def stamp_ns(stamp: StampMessage) -> int:
    """Return a stamp in nanoseconds."""
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def frame_of(name: str) -> str:
    """Return the name of a frame as tf2 has it: without the slash that ROS 1 put before it."""
    return name.lstrip("/")


def transform_of(message: Any) -> Transform:
    """Return target_from_source of a geometry_msgs/Transform, or of a Pose.

    Raises:
        InputError: a number is not finite or absurd, or the rotation is not a unit quaternion.
    """
    moved = getattr(message, "translation", None) or message.position
    q = getattr(message, "rotation", None) or message.orientation
    numbers = np.array([moved.x, moved.y, moved.z, q.x, q.y, q.z, q.w], dtype=np.float64)
    position, quaternion = numbers[:3], numbers[3:]
    if not np.isfinite(numbers).all():
        raise InputError(f"{numbers.tolist()} must be finite numbers x y z qx qy qz qw")
    if np.abs(position).max() > FARTHEST:
        raise InputError(f"position {position.tolist()} is farther away than {FARTHEST:g} m")
    if abs(math.hypot(*quaternion) - 1) > UNIT_TOLERANCE:
        raise InputError(f"rotation {quaternion.tolist()} must be a unit quaternion x y z w")
    return Transform(Rotation.from_quat(quaternion), position)


@dataclass(frozen=True)
class Link:
    """What a message says of two frames.

    Attributes:
        parent: frame.
        child: frame.
        stamp: nanoseconds.
        parent_from_child: pose of the child in the parent.
    """

    parent: str
    child: str
    stamp: int
    parent_from_child: Transform


def link_of(message: Any) -> Link:
    """Read a geometry_msgs/TransformStamped, or a nav_msgs/Odometry's pose.

    What tf2 ignores is refused: BufferCore::setTransform of geometry2.

    Raises:
        InputError: a frame without a name, a frame in itself, or no transform.
    """
    parent, child = frame_of(message.header.frame_id), frame_of(message.child_frame_id)
    moved = getattr(message, "transform", None) or message.pose.pose
    if not parent or not child:
        raise InputError(f"transform of {child!r} in {parent!r} is ignored: a frame has no name")
    if parent == child:
        raise InputError(f"transform of {child!r} in {parent!r} is ignored: it is the same frame")
    try:
        transform = transform_of(moved)
    except InputError as error:
        raise InputError(f"transform of {child!r} in {parent!r} is ignored: {error}") from None
    return Link(parent, child, stamp_ns(message.header.stamp), transform)
