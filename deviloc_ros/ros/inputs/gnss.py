"""`fix`: a satellite receiver says about where the robot is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import NavSatFix, NavSatStatus

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.config import GnssConfig
from deviloc_ros.robot.georeference import Georeference
from deviloc_ros.ros.messages import stamp_ns

UNKNOWN_ROTATION = math.pi
"""Sigma of the orientation, radians: a receiver knows nothing of it, so it must not narrow."""


class Gnss:
    """Subscribes to `fix`. The antenna is taken to be at the base: `gnss.min_sigma` covers that."""

    def __init__(
        self, node: Node, config: GnssConfig, on_pose: Callable[[CarriedPose, str], object]
    ) -> None:
        """Subscribe if that is asked for; `on_pose` gets a pose and where it came from."""
        self._node = node
        self._config = config
        self._on_pose = on_pose
        self._place = Georeference(
            config.latitude, config.longitude, config.altitude, config.heading
        )
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
        altitude_known = math.isfinite(message.altitude)
        place = (
            message.latitude,
            message.longitude,
            message.altitude if altitude_known else self._config.altitude,
        )
        if message.status.status < NavSatStatus.STATUS_FIX or not all(map(math.isfinite, place)):
            return
        plane, vertical = self._sigmas(message)
        pose = CarriedPose(
            Transform(Rotation.identity(), self._place.position(*place)),
            plane,
            UNKNOWN_ROTATION,
            stamp_ns(message.header.stamp),
            vertical_sigma=vertical if altitude_known else 1000.0,
        )
        self._on_pose(pose, "fix of a satellite receiver")

    def _sigmas(self, message: NavSatFix) -> tuple[float, float]:
        """Return standard deviations in the plane and of the height, metres."""
        covariance = np.reshape(message.position_covariance, (3, 3))
        known = message.position_covariance_type != NavSatFix.COVARIANCE_TYPE_UNKNOWN
        if not known or not np.isfinite(covariance).all():
            return self._config.unknown_sigma, 2 * self._config.unknown_sigma
        plane = float(np.sqrt(max(np.linalg.eigvalsh(covariance[:2, :2]).max(), 0.0)))
        vertical = float(np.sqrt(max(covariance[2, 2], 0.0)))
        return max(plane, self._config.min_sigma), max(vertical, self._config.min_sigma)
