"""`initialpose`: a person says where the robot is, with RViz for example."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import FARTHEST, Transform
from deviloc_ros.messages.stamped import frame_of, stamp_ns, transform_of
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.config import FrameConfig
from deviloc_ros.robot.odometry import Odometry
from deviloc_ros.robot.transform_buffer import TransformLookup, TransformUnavailableError

UNKNOWN_HEIGHT = 1000.0
"""Sigma of z, metres, of a pose that was clicked on a plane: RViz leaves its variance 0."""
CLICKED_POSITION, CLICKED_ROTATION = 0.5, 0.26
"""Sigmas of a pose without a covariance, metres and radians; RViz' own."""


class InitialPoses:
    """Reads poses in the map's frame, or in any that transforms join with it."""

    def __init__(
        self, frames: FrameConfig, transforms: TransformLookup, odometry: Odometry
    ) -> None:
        """Take names of frames, and what carries a pose from one to another."""
        self._frames = frames
        self._transforms = transforms
        self._odometry = odometry

    def read(self, message: Any, now: int) -> tuple[CarriedPose, str]:
        """Return the pose of a geometry_msgs/PoseWithCovarianceStamped, and where it came from.

        Args:
            message: of rclpy, or out of a bag.
            now: nanoseconds, the stamp of a pose without one.

        Raises:
            InputError: it is no pose, or in a frame that nothing joins with the map.
        """
        stamp = stamp_ns(message.header.stamp) or now
        frame = frame_of(message.header.frame_id) or self._frames.map
        try:
            frame_from_base = transform_of(message.pose.pose)
            position, rotation, vertical = read_sigmas(np.array(message.pose.covariance))
            map_from_frame = self._map_from(frame, stamp)
        except (ValueError, TransformUnavailableError) as error:
            raise InputError(f"initialpose is not used: {error}") from None
        # What comes from TF must be known already: the node's thread is the one that hears it.
        try:
            odom_from_base = self._odometry.at(stamp, timeout=0)
        except TransformUnavailableError:
            odom_from_base = None
        pose = CarriedPose(
            map_from_frame @ frame_from_base, position, rotation, stamp, odom_from_base, vertical
        )
        return pose, f"initialpose in {frame}"

    def _map_from(self, frame: str, stamp: int) -> Transform:
        if frame == self._frames.map:
            return Transform.identity()
        try:
            return self._transforms.lookup(self._frames.map, frame, stamp, timeout=0)
        except TransformUnavailableError:
            return self._transforms.newest(self._frames.map, frame)


def read_sigmas(covariance: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return standard deviations in the plane (m), of the rotation (rad) and of z (m).

    Args:
        covariance: (36,) row-major: x, y, z, rotation about x, y, z.

    Raises:
        ValueError: it is not a covariance.
    """
    matrix = covariance.reshape(6, 6)
    if not np.isfinite(matrix).all():
        raise ValueError("the covariance must be finite numbers")
    if np.abs(matrix).max() > FARTHEST**2:
        raise ValueError(f"variances must not be larger than {FARTHEST**2:g}")
    plane, rotation = (np.linalg.eigvalsh(block) for block in (matrix[:2, :2], matrix[3:, 3:]))
    if plane.min() < -1e-9 or rotation.min() < -1e-9 or matrix[2, 2] < 0:
        raise ValueError("variances must not be negative")
    return (
        float(np.sqrt(plane.max())) or CLICKED_POSITION,
        float(np.sqrt(rotation.max())) or CLICKED_ROTATION,
        float(np.sqrt(matrix[2, 2])) or UNKNOWN_HEIGHT,
    )
