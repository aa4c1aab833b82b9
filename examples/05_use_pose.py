#!/usr/bin/env python3
"""A ROS 2 node that uses the pose: it tells where a docking station is, unless that is uncertain.

The station's place is known in the map. With each pose the node gives it in the robot's frame,
but only while its error ellipse, which follows from the pose's covariance, is small.

  python examples/05_use_pose.py --ros-args -p station:="[4.0, 1.5, 0.0]" -p max_error:=0.2
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import rclpy
from geometry_msgs.msg import PointStamped, PoseWithCovarianceStamped
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.time import Time
from scipy.stats import chi2

from deviloc_ros import Transform


class StationFinder(Node):
    """Subscribes to the pose of base_link in the map; publishes the station in base_link."""

    def __init__(self) -> None:
        """Declare parameters, publisher and subscription."""
        super().__init__("station_finder")
        self._station = np.array(self.declare_parameter("station", [4.0, 1.5, 0.0]).value, float)
        self._max_error = float(self.declare_parameter("max_error", 0.2).value)  # m, 95 % ellipse
        self._max_age = float(self.declare_parameter("max_age", 0.5).value)  # seconds
        self._base = str(self.declare_parameter("base_frame", "base_link").value)
        self._publisher = self.create_publisher(PointStamped, "~/station", 10)
        self.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_pose, 10)

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        # The stamp is that of the image: by now the robot may be somewhere else.
        age = self.get_clock().now() - Time.from_msg(message.header.stamp)
        if age.nanoseconds > self._max_age * 1e9:
            self.get_logger().warning(f"pose is {age.nanoseconds / 1e9:.2f} s old: not used")
            return
        p, q = message.pose.pose.position, message.pose.pose.orientation
        map_from_base = Transform.from_quaternion((q.w, q.x, q.y, q.z), (p.x, p.y, p.z))
        covariance = np.reshape(message.pose.covariance, (6, 6))
        error = station_error(self._station - map_from_base.translation, covariance)
        if error > self._max_error:
            self.get_logger().warning(f"station known only to {error:.2f} m: not used")
            return
        x, y, z = map_from_base.inverse().apply(self._station)
        answer = PointStamped(header=message.header)
        answer.header.frame_id = self._base
        answer.point.x, answer.point.y, answer.point.z = float(x), float(y), float(z)
        self._publisher.publish(answer)


def station_error(arm: np.ndarray, covariance: np.ndarray) -> float:
    """Return the longer semi-axis of the station's 95 % ellipse as the robot sees it, metres.

    Args:
        arm: from the robot to the station, map frame: the further, the more a wrong yaw matters.
        covariance: (6, 6), x, y, z, then rotation about the map's fixed x, y, z axes.
    """
    by_pose = np.array([[1.0, 0.0, -arm[1]], [0.0, 1.0, arm[0]]])  # of x, y and yaw
    in_plane = by_pose @ covariance[np.ix_([0, 1, 5], [0, 1, 5])] @ by_pose.T
    return float(np.sqrt(chi2.ppf(0.95, df=2) * np.linalg.eigvalsh(in_plane).max()))


def main() -> None:
    """Run until Ctrl-C."""
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.init()
        rclpy.spin(StationFinder())


if __name__ == "__main__":
    main()
