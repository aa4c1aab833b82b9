"""Example 05 as a process of its own, over real DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import PointStamped, PoseWithCovarianceStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot import domain_id
from scipy.spatial.transform import Rotation

from deviloc_ros import Transform
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.ros.messages import pose_message

pytestmark = pytest.mark.ros

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "05_use_pose.py"
STATION = (4.0, 1.5, 0.2)
POSE = Transform(Rotation.from_euler("z", 90, degrees=True), np.array([3.0, 0.5, 0.0]))
"""The station is 1 m to the right of it and 1 m ahead, map_from_base."""


class Peer:
    """Sends poses and hears where the station is."""

    def __init__(self, context: Context) -> None:
        self.node = Node("peer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.heard: list[PointStamped] = []
        self.poses = self.node.create_publisher(PoseWithCovarianceStamped, "/localization/pose", 10)
        self.node.create_subscription(
            PointStamped, "/station_finder/station", self.heard.append, 10
        )

    def send(self, position_sigma: float, yaw_sigma: float, age: float = 0.0) -> None:
        """Send the pose with an uncertainty and an age."""
        sigmas = np.array([position_sigma] * 3 + [0.001, 0.001, yaw_sigma])
        stamp = self.node.get_clock().now().nanoseconds - round(age * 1e9)
        self.poses.publish(pose_message("map", stamp, BasePose(POSE, np.diag(sigmas**2))))

    def spin_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Spin until a condition holds; return whether it came to hold."""
        end = time.monotonic() + seconds
        while not condition() and time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.02)
        return condition()


@pytest.fixture
def peer(context: Context) -> Iterator[Peer]:
    result = Peer(context)
    yield result
    result.executor.shutdown()
    result.node.destroy_node()


@pytest.fixture
def example(peer: Peer) -> Iterator[subprocess.Popen[str]]:
    """The example's process, whose subscription is found."""
    station = f"[{', '.join(map(str, STATION))}]"
    arguments = ["--ros-args", "-p", f"station:={station}", "-p", "max_error:=0.2"]
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLE), *arguments, "-p", "max_age:=5.0"],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id())},
        stderr=subprocess.PIPE,
        text=True,
    )
    found = peer.spin_until(
        lambda: bool(
            peer.poses.get_subscription_count()
            and peer.node.count_publishers("/station_finder/station")
        ),
        30.0,
    )
    try:
        assert found, "the example has not started"
        yield process
    finally:
        process.kill()
        process.wait()


def test_the_node_uses_good_poses_alone(peer: Peer, example: subprocess.Popen[str]) -> None:
    # Until both have found each other, messages may be lost: the first one is sent again.
    for _ in range(50):
        peer.send(position_sigma=0.02, yaw_sigma=0.01)
        if peer.spin_until(lambda: bool(peer.heard), 0.2):
            break
    answer = peer.heard[0]
    assert answer.header.frame_id == "base_link"
    point = answer.point.x, answer.point.y, answer.point.z
    np.testing.assert_allclose(point, (1.0, -1.0, 0.2), atol=1e-9)
    peer.spin_until(lambda: False, 0.5)
    peer.heard.clear()

    peer.send(position_sigma=0.2, yaw_sigma=0.01)
    peer.send(position_sigma=0.02, yaw_sigma=0.2)  # 1.4 m away: 0.28 m across, one sigma
    peer.send(position_sigma=0.02, yaw_sigma=0.01, age=60.0)
    peer.send(position_sigma=0.03, yaw_sigma=0.01)
    assert peer.spin_until(lambda: bool(peer.heard), 10.0)
    assert len(peer.heard) == 1

    example.send_signal(signal.SIGINT)
    _, errors = example.communicate(timeout=10)
    assert example.returncode == 0
    assert "Traceback" not in errors
    refused = [line for line in errors.splitlines() if "not used" in line]
    assert [any(word in line for line in refused) for word in ("known only to 0.4", "60.")] == [
        True,
        True,
    ]
    assert len(refused) == 3
