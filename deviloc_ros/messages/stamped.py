"""Stamps, frames and transforms out of ROS messages, of rclpy and of bags alike."""

from __future__ import annotations

from typing import Any, Protocol

from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform


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
    """Return target_from_source of a geometry_msgs/Transform, or of a Pose."""
    moved = getattr(message, "translation", None) or message.position
    q = getattr(message, "rotation", None) or message.orientation
    return Transform.from_quaternion((q.w, q.x, q.y, q.z), (moved.x, moved.y, moved.z))
