"""Clocks, odometry and transforms around a node under test."""

from __future__ import annotations

import numpy as np
from robot import Robot
from rosgraph_msgs.msg import Clock
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns, transform_of
from deviloc_ros.ros.messages import stamp_message

SECOND = 1_000_000_000


def odom(x: float) -> Transform:
    return Transform(Rotation.from_euler("z", 5 * x, degrees=True), np.array([x, 0.0, 0.0]))


class Time:
    """Simulated time, which stands still unless it is told to go on."""

    def __init__(self, robot: Robot, seconds: float, **parameters: object) -> None:
        self.robot = robot
        self.publisher = robot.peer.create_publisher(Clock, "/clock", 10)
        robot.start(use_sim_time=True, **parameters)
        robot.spin_until(lambda: self.publisher.get_subscription_count() == 1)
        self.be(seconds)

    def publish(self, seconds: float) -> None:
        """Set the clock, and wait until the node has heard of it."""
        node = self.robot.node
        assert node is not None
        self.publisher.publish(Clock(clock=stamp_message(round(seconds * SECOND))))
        clock = node.get_clock()
        self.robot.spin_until(lambda: clock.now().nanoseconds == round(seconds * SECOND))

    def be(self, seconds: float) -> None:
        """Set the clock, and let happen what follows from that."""
        self.publish(seconds)
        self.robot.spin(0.1)


def own(robot: Robot) -> list[tuple[str, str]]:
    """Return parent and child of the transforms that the node sent."""
    return [
        (item.header.frame_id, item.child_frame_id)
        for item in robot.transforms
        if item.header.frame_id == "map"
    ]


def stamps(robot: Robot) -> list[float]:
    """Return the stamps of map -> odom, seconds."""
    return [
        stamp_ns(item.header.stamp) / SECOND
        for item in robot.transforms
        if (item.header.frame_id, item.child_frame_id) == ("map", "odom")
    ]


def newest(robot: Robot) -> Transform:
    """Return the map_from_odom sent last."""
    sent = [item for item in robot.transforms if item.child_frame_id == "odom"]
    return transform_of(sent[-1].transform)


def send_odometry(robot: Robot, *seconds: float) -> None:
    for stamp in seconds:
        robot.send_tf("odom", "base_link", stamp, odom(stamp / 100))
    robot.spin(0.2)
