"""Poses that come from outside: `initialpose` of a person, `fix` of a satellite receiver."""

from __future__ import annotations

from collections.abc import Callable

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import NavSatFix

from deviloc_ros.errors import InputError
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.config import GnssConfig
from deviloc_ros.robot.gnss import SOURCE, SatelliteFixes
from deviloc_ros.robot.initial_pose import InitialPoses
from deviloc_ros.robot.told_once import ToldOnce

OnPose = Callable[[CarriedPose, str], None]
"""Gets a pose and where it came from."""


class InitialPose:
    """Subscribes to `initialpose`."""

    def __init__(self, node: Node, poses: InitialPoses, on_pose: OnPose) -> None:
        """Subscribe."""
        self._node = node
        self._poses = poses
        self._on_pose = on_pose
        self._subscription = node.create_subscription(
            PoseWithCovarianceStamped, "initialpose", self._on_message, 10
        )

    def close(self) -> None:
        """Stop listening."""
        self._node.destroy_subscription(self._subscription)

    def _on_message(self, message: PoseWithCovarianceStamped) -> None:
        try:
            pose, source = self._poses.read(message, self._node.get_clock().now().nanoseconds)
        except InputError as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=1.0)
            return
        self._on_pose(pose, source)


class Gnss:
    """Subscribes to `fix`, if that is asked for."""

    def __init__(self, node: Node, config: GnssConfig, on_pose: OnPose) -> None:
        """Subscribe."""
        self._node = node
        self._fixes = SatelliteFixes(config)
        self._refused = ToldOnce(lambda text: node.get_logger().warning(text))
        self._on_pose = on_pose
        self._subscription = (
            node.create_subscription(NavSatFix, "fix", self._on_fix, qos_profile_sensor_data)
            if config.enabled
            else None
        )

    def close(self) -> None:
        """Stop listening."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _on_fix(self, message: NavSatFix) -> None:
        try:
            pose = self._fixes.read(message)
        except InputError as error:
            # A receiver says the same thing many times a second.
            self._refused.tell(SOURCE, str(error))
            return
        if pose is not None:
            self._refused.forget()
            self._on_pose(pose, SOURCE)
