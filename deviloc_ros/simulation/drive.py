"""How a robot drives along the street: lanes, sway, wheel odometry that drifts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.street import LANE, Street


@dataclass(frozen=True)
class Drive:
    """One pass along a street.

    Attributes:
        lane: distance from the centre line, metres; positive is left.
        start: where along the street it begins, metres.
        end: where it ends, metres.
        speed: metres per second.
        rate: moments per second.
        yaw: constant heading against the lane, radians, as of a robot that crabs a little.
        sway: amplitude of the wandering within the lane, metres.
        start_stamp: of the first moment, nanoseconds.
    """

    lane: float = -LANE
    start: float = 2.0
    end: float = 72.0
    speed: float = 4.0
    rate: float = 4.0
    yaw: float = 0.0
    sway: float = 0.12
    start_stamp: int = 1_700_000_000 * NANOSECONDS

    def poses(self, street: Street) -> Sequence[tuple[int, Transform]]:
        """Return (stamp in nanoseconds, map_from_base) of every moment; base is on the ground."""
        count = int((self.end - self.start) / self.speed * self.rate) + 1
        moments = []
        for index in range(count):
            along = self.start + index * self.speed / self.rate
            phase = 2 * np.pi * along / 23.0
            left = self.lane + self.sway * np.sin(phase)
            heading = self.yaw + np.arctan(self.sway * np.cos(phase) * 2 * np.pi / 23.0)
            turn = Transform(Rotation.from_euler("z", float(heading)), np.zeros(3))
            stamp = self.start_stamp + round(index / self.rate * NANOSECONDS)
            moments.append((stamp, street.pose(along, left) @ turn))
        return moments


def odometry(
    moments: Sequence[tuple[int, Transform]],
    rng: np.random.Generator,
    scale_error: float = 0.01,
    yaw_noise: float = 0.002,
) -> Sequence[tuple[int, Transform]]:
    """Return (stamp, odom_from_base) as wheels would tell it: it starts at zero and drifts.

    Args:
        moments: (stamp, map_from_base), the truth.
        rng: of the drift.
        scale_error: share by which every distance is too long.
        yaw_noise: standard deviation of the heading's error a step, radians.
    """
    odom_from_base = Transform.identity()
    measured = [(moments[0][0], odom_from_base)] if moments else []
    for (_, before), (stamp, after) in pairwise(moments):
        step = before.inverse() @ after
        wrong = Rotation.from_euler("z", float(rng.normal(0, yaw_noise)))
        step = Transform(step.rotation * wrong, step.translation * (1 + scale_error))
        odom_from_base = odom_from_base @ step
        measured.append((stamp, odom_from_base))
    return measured


def mounted(
    forward: float = 1.2, left: float = 0.1, up: float = 1.5, yaw: float = 0.0, pitch: float = -0.06
) -> Transform:
    """Return base_from_camera of a camera on the robot (optical frame: z forward, y down).

    Args:
        forward: of its centre, metres.
        left: of its centre, metres.
        up: of its centre, metres.
        yaw: to the left, radians.
        pitch: downwards, radians.
    """
    optical = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    looking = Rotation.from_euler("ZY", [yaw, pitch])
    return Transform(looking * optical, np.array([forward, left, up]))
