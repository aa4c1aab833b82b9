"""What the node asks of tf2_ros: nothing is left behind, and time may jump back.

No wheel has tf2_ros. The stand-in has what Humble's does: a buffer that makes a service if it is
given a node, and that nobody clears.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.node import Node
from robot import Robot
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from deviloc_ros.ros.inputs import transforms
from deviloc_ros.ros.messages import stamp_message

pytestmark = pytest.mark.ros


class Buffer:
    cleared = 0

    def __init__(self, node: Node | None = None) -> None:
        if node is not None:
            node.create_service(Trigger, "tf2_frames", lambda request, response: response)

    def can_transform(self, *_: Any) -> bool:
        return False

    def lookup_transform(self, *_: Any) -> None:
        raise LookupError("nothing is known")

    def clear(self) -> None:
        Buffer.cleared += 1


class Listener:
    def __init__(self, buffer: Buffer, node: Node) -> None:
        pass

    def unregister(self) -> None:
        pass


@pytest.fixture
def tf2(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(
        Buffer=Buffer, TransformListener=Listener, TransformException=LookupError
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", module)
    monkeypatch.setattr(Buffer, "cleared", 0)


def test_configuring_again_and_again_leaves_no_services(robot: Robot, tf2: None) -> None:
    node = robot.add_node()
    counts = []
    for _ in range(3):
        node.trigger_configure()
        node.trigger_cleanup()
        counts.append(len(list(node.services)))
    assert len(set(counts)) == 1
    assert not [service for service in node.services if "tf2_frames" in service.srv_name]


def test_it_is_cleared_when_time_jumps_back(robot: Robot, tf2: None) -> None:
    node = robot.add_node(use_sim_time=True)
    assert node.start()
    clock = robot.peer.create_publisher(Clock, "/clock", 10)
    robot.spin_until(lambda: clock.get_subscription_count() == 1)
    for seconds in (100, 101):
        clock.publish(Clock(clock=stamp_message(seconds * 10**9)))
        robot.spin_until(lambda at=seconds: node.get_clock().now().nanoseconds == at * 10**9)
    before = Buffer.cleared
    clock.publish(Clock(clock=stamp_message(10**9)))
    robot.spin_until(lambda: Buffer.cleared > before)


def test_a_stamp_before_time_began_is_one_that_is_not_known(robot: Robot, tf2: None) -> None:
    node = robot.add_node()
    lookup = transforms.Tf2Lookup(node, sys.modules["tf2_ros"])
    with pytest.raises(transforms.TransformUnavailableError, match="before time began"):
        lookup.lookup("map", "base_link", -1, 0.0)
    lookup.close()
