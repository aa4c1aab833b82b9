"""A pose that odometry carries on, less certain with every metre, radian and second."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class Drift:
    """How fast odometry goes wrong; standard deviations.

    Attributes:
        position_per_metre: metres for each metre driven.
        position_per_second: metres for each second.
        rotation_per_radian: radians for each radian turned.
        rotation_per_metre: radians for each metre driven.
        rotation_per_second: radians for each second.
    """

    position_per_metre: float
    position_per_second: float
    rotation_per_radian: float
    rotation_per_metre: float
    rotation_per_second: float


@dataclass(frozen=True)
class CarriedPose:
    """Where the base is thought to be at a time.

    Attributes:
        map_from_base: the pose.
        position_sigma: standard deviation of x and y, and of z unless the next says more, metres.
        rotation_sigma: standard deviation of the orientation about any axis, radians.
        stamp: nanoseconds.
        odom_from_base: odometry at that stamp; None where there was none yet.
        vertical_sigma: standard deviation of z, metres; None: as position_sigma.
    """

    map_from_base: Transform
    position_sigma: float
    rotation_sigma: float
    stamp: int
    odom_from_base: Transform | None = None
    vertical_sigma: float | None = None

    @staticmethod
    def of_estimate(
        map_from_base: Transform,
        covariance: NDArray[np.float64],
        stamp: int,
        odom_from_base: Transform | None,
    ) -> CarriedPose:
        """Begin with a pose and its (6, 6) covariance: x, y, z, rotation about x, y, z."""
        sigmas = [
            float(np.sqrt(np.linalg.eigvalsh(block).max()))
            for block in (covariance[:3, :3], covariance[3:, 3:])
        ]
        return CarriedPose(map_from_base, sigmas[0], sigmas[1], stamp, odom_from_base)

    def carried(self, odom_from_base: Transform | None, stamp: int, drift: Drift) -> CarriedPose:
        """Return the pose at another stamp; uncertainty never shrinks.

        The error of the heading turns into one of the position over the distance driven. A pose
        without odometry stays where it is: what it lacks is taken to begin now.

        Args:
            odom_from_base: odometry at `stamp`, or None where there is none.
            stamp: nanoseconds.
            drift: of the odometry.
        """
        seconds = abs(stamp - self.stamp) * 1e-9
        metres = radians = 0.0
        map_from_base = self.map_from_base
        if self.odom_from_base is not None and odom_from_base is not None:
            moved = self.odom_from_base.inverse() @ odom_from_base
            map_from_base = map_from_base @ moved
            metres = float(np.linalg.norm(moved.translation))
            radians = float(moved.rotation.magnitude())
        turned = (
            drift.rotation_per_radian * radians
            + drift.rotation_per_metre * metres
            + drift.rotation_per_second * seconds
        )
        shifted = (
            drift.position_per_metre * metres
            + drift.position_per_second * seconds
            + (self.rotation_sigma + turned / 2) * metres
        )
        vertical = self.vertical_sigma
        return replace(
            self,
            map_from_base=map_from_base,
            position_sigma=self.position_sigma + shifted,
            rotation_sigma=self.rotation_sigma + turned,
            stamp=stamp,
            odom_from_base=self.odom_from_base if odom_from_base is None else odom_from_base,
            vertical_sigma=None if vertical is None else vertical + shifted,
        )
