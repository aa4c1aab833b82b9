"""The bond with a lifecycle manager, against a peer with the manager's own logic."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.qos import QoSProfile
from robot import Robot

pytest.importorskip("bond.msg", reason="the ROS package bond is not installed; ./run setup")
from bond.msg import Status

pytestmark = pytest.mark.ros

TIMEOUT = 1.0
"""The manager's bond_timeout, seconds; 4 by default."""


class Manager:
    """One bond of nav2_lifecycle_manager: bondcpp's states, on the manager's side."""

    def __init__(self, node: Node, id: str, beats: bool = True) -> None:
        self.id, self.instance = id, str(uuid.uuid4())
        self.heard: list[Status] = []
        self.last = 0.0
        self.state = "waiting for sister"
        self._node = node
        self._publisher = node.create_publisher(Status, "/bond", QoSProfile(depth=5))
        self._subscription = node.create_subscription(
            Status, "/bond", self._on_status, QoSProfile(depth=100)
        )
        self._timer = node.create_timer(0.05, self._beat)
        self.beats = beats

    @property
    def broken(self) -> bool:
        late = self.state == "alive" and time.monotonic() - self.last > TIMEOUT
        return late or self.state == "dead"

    def _beat(self) -> None:
        if self.beats and self.state != "dead":
            self.send(active=True)

    def send(self, active: bool) -> None:
        self._publisher.publish(
            Status(id=self.id, instance_id=self.instance, active=active, heartbeat_timeout=TIMEOUT)
        )

    def _on_status(self, message: Status) -> None:
        if message.id != self.id or message.instance_id == self.instance:
            return
        self.heard.append(message)
        self.last = time.monotonic()
        self.state = "alive" if message.active and self.state != "dead" else "dead"

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)


@pytest.fixture
def managers(robot: Robot) -> Iterator[list[Manager]]:
    made: list[Manager] = []
    yield made
    for manager in made:
        manager.close()


def test_it_forms_lasts_and_ends_with_activity(robot: Robot, managers: list[Manager]) -> None:
    node = robot.add_node(bond__enabled=True)
    node.trigger_configure()
    managers.append(Manager(robot.peer, "localization"))
    robot.spin(0.3)
    assert managers[0].state == "waiting for sister"
    node.trigger_activate()
    # The manager waits for half of its timeout.
    robot.spin_until(lambda: managers[0].state == "alive", TIMEOUT / 2 + 5)
    end = time.monotonic() + 2 * TIMEOUT
    while time.monotonic() < end:
        robot.spin(0.1)
        assert not managers[0].broken
    assert {message.heartbeat_timeout for message in managers[0].heard} == {4.0}
    assert len({message.instance_id for message in managers[0].heard}) == 1
    node.trigger_deactivate()
    robot.spin_until(lambda: managers[0].broken)
    assert not managers[0].heard[-1].active
    managers.append(Manager(robot.peer, "localization"))
    node.trigger_activate()
    robot.spin_until(lambda: managers[1].state == "alive")


@pytest.mark.parametrize("says_so", [True, False], ids=["ended", "killed"])
def test_a_manager_that_goes_is_told_and_another_one_is_taken(
    robot: Robot, managers: list[Manager], says_so: bool
) -> None:
    told: list[str] = []
    robot.peer.create_subscription(Log, "/rosout", lambda m: told.append(m.msg), 100)
    robot.start(bond__enabled=True, bond__timeout=TIMEOUT)
    managers.append(Manager(robot.peer, "localization"))
    robot.spin_until(lambda: any("bond with the lifecycle manager formed" in t for t in told))
    managers[0].beats = False
    if says_so:
        managers[0].send(active=False)
    robot.spin_until(lambda: any("bond broken" in text for text in told))
    robot.send_image(30)
    robot.spin_until(lambda: len(robot.poses) == 1)
    managers.append(Manager(robot.peer, "localization"))
    robot.spin_until(lambda: managers[1].state == "alive")
    robot.spin(1.5 * TIMEOUT)
    assert not managers[1].broken


def test_what_others_bonds_say_changes_nothing(robot: Robot, managers: list[Manager]) -> None:
    robot.start(bond__enabled=True, bond__timeout=TIMEOUT)
    managers.append(Manager(robot.peer, "controller_server"))
    robot.spin(1.5 * TIMEOUT)
    assert managers[0].state == "waiting for sister"


def test_without_the_parameter_there_is_none(robot: Robot) -> None:
    robot.start()
    assert robot.node is not None
    assert robot.node.count_publishers("/bond") == 0


def test_without_the_package_it_is_one_line(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bond.msg", None)
    told: list[Any] = []
    robot.peer.create_subscription(Log, "/rosout", told.append, 100)
    robot.spin(0.3)
    node = robot.add_node(bond__enabled=True)
    assert not node.start()
    robot.spin_until(lambda: any("apt install ros-$ROS_DISTRO-bond" in m.msg for m in told))
