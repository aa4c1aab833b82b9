"""`fix`: a satellite receiver says about where the robot is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns
from deviloc_ros.robot.carried_pose import CarriedPose
from deviloc_ros.robot.config import GnssConfig
from deviloc_ros.robot.georeference import Georeference

UNKNOWN_ROTATION = math.pi
"""Sigma of the orientation, radians: a receiver knows nothing of it, so it must not narrow."""
UNKNOWN_HEIGHT = 1000.0
"""Sigma of z, metres, of a fix without an altitude."""
STATUS_FIX = 0
"""sensor_msgs/NavSatStatus; below it there is no fix."""
COVARIANCE_TYPE_UNKNOWN = 0
"""sensor_msgs/NavSatFix."""
SOURCE = "fix of a satellite receiver"
PLACE, LIMITS = ("latitude", "longitude", "altitude"), (90.0, 360.0, 1e6)
"""What a fix says, and how much it can be: degrees, and metres."""
LARGEST_VARIANCE = 1e14
"""Metres squared; the earth is no larger."""


class SatelliteFixes:
    """Reads fixes. The antenna is taken to be at the base: `gnss.min_sigma` covers that."""

    def __init__(self, config: GnssConfig) -> None:
        """Take the place of the map on the earth."""
        self._config = config
        self._place = Georeference(
            config.latitude, config.longitude, config.altitude, config.heading
        )

    def read(self, message: Any) -> CarriedPose | None:
        """Return the pose of a sensor_msgs/NavSatFix, of rclpy or out of a bag; None without one.

        It means something only in a map that is metric and aligned to gravity.

        Raises:
            InputError: there is no such place on the earth.
        """
        altitude_known = math.isfinite(message.altitude)
        place = (
            message.latitude,
            message.longitude,
            message.altitude if altitude_known else self._config.altitude,
        )
        if message.status.status < STATUS_FIX or math.isnan(message.latitude + message.longitude):
            return None
        for name, value, limit in zip(PLACE, place, LIMITS, strict=True):
            if not abs(value) <= limit:
                raise InputError(f"fix is not used: {name} {value:g} is not within +-{limit:g}")
        plane, vertical = self._sigmas(message)
        return CarriedPose(
            Transform(Rotation.identity(), self._place.position(*place)),
            plane,
            UNKNOWN_ROTATION,
            stamp_ns(message.header.stamp),
            vertical_sigma=vertical if altitude_known else UNKNOWN_HEIGHT,
        )

    def _sigmas(self, message: Any) -> tuple[float, float]:
        """Return standard deviations in the plane and of the height, metres."""
        covariance = np.reshape(message.position_covariance, (3, 3))
        known = message.position_covariance_type != COVARIANCE_TYPE_UNKNOWN
        if not known or not (np.abs(covariance) <= LARGEST_VARIANCE).all():
            return self._config.unknown_sigma, 2 * self._config.unknown_sigma
        plane = float(np.sqrt(max(np.linalg.eigvalsh(covariance[:2, :2]).max(), 0.0)))
        vertical = float(np.sqrt(max(covariance[2, 2], 0.0)))
        return max(plane, self._config.min_sigma), max(vertical, self._config.min_sigma)
