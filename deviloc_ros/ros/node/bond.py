"""A bond with a lifecycle manager, by which each learns that the other has died.

Both publish `bond/msg/Status` with the same id on one topic, many times a second; whoever does not
hear the other for a while, or hears that it is not active any more, takes the bond for broken
(bond_core, and nav2_util::LifecycleNode for names and periods). The timer is the executor's: a node
whose executor hangs is silent, which is what the manager wants to know.
"""

from __future__ import annotations

import importlib
import time
import uuid
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from deviloc_ros.errors import InputError
from deviloc_ros.ros.config.output_config import BondConfig
from deviloc_ros.ros.messages import stamp_message

TOPIC = "bond"
"""Relative, as Nav2's: a manager in the node's namespace is meant."""


def status_type() -> Any:
    """Return bond/msg/Status.

    Raises:
        InputError: the package is not installed.
    """
    try:
        return importlib.import_module("bond.msg").Status
    except (ImportError, AttributeError):
        raise InputError(
            "bond.enabled needs the ROS package bond, which comes with Nav2 "
            "(apt install ros-$ROS_DISTRO-bond); or set bond_timeout of the lifecycle manager to 0"
        ) from None


class Bond:
    """This node's end; it exists while the node is configured, and is held while it is active."""

    def __init__(self, node: LifecycleNode, config: BondConfig) -> None:
        """Make publisher and subscription.

        Raises:
            InputError: the message's package is not installed.
        """
        self._node = node
        self._config = config
        self._message = status_type()
        self._clock = Clock(clock_type=ClockType.STEADY_TIME)
        self._instance = ""
        self._heard = 0.0
        self._timer: Timer | None = None
        self._publisher = node.create_publisher(self._message, TOPIC, QoSProfile(depth=5))
        self._subscription = node.create_subscription(
            self._message, TOPIC, self._on_status, QoSProfile(depth=100)
        )

    @property
    def formed(self) -> bool:
        """Whether the manager was heard, and not too long ago."""
        return self._heard > 0

    def start(self) -> None:
        """Tell the manager that this node is alive, from now on."""
        self._begin_anew()
        self._timer = self._node.create_timer(
            self._config.heartbeat_period, self._beat, clock=self._clock
        )
        self._beat()

    def stop(self) -> None:
        """Tell the manager that this node is active no longer."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._timer = None
            self._publish(active=False)

    def close(self) -> None:
        """Give everything back."""
        self.stop()
        self._node.destroy_subscription(self._subscription)
        self._node.destroy_publisher(self._publisher)

    def _beat(self) -> None:
        if self.formed and time.monotonic() - self._heard > self._config.timeout:
            self._broken(f"has been silent for {self._config.timeout:g} s")
        self._publish(active=True)

    def _on_status(self, message: Any) -> None:
        """Hear the other end; what bonds of other nodes say passes by."""
        ours = message.id == self._node.get_name()
        if self._timer is None or not ours or message.instance_id == self._instance:
            return
        if message.active:
            if not self.formed:
                self._node.get_logger().info("bond with the lifecycle manager formed")
            self._heard = time.monotonic()
        elif self.formed:
            self._publish(active=False)  # as an answer: it waits for it
            self._broken("has ended it")

    def _broken(self, why: str) -> None:
        """Go on without: a robot is not left without poses because its manager died."""
        self._node.get_logger().warning(
            f"bond broken: the lifecycle manager {why}; localizing goes on, and the bond waits"
        )
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._instance = str(uuid.uuid4())
        self._heard = 0.0

    def _publish(self, active: bool) -> None:
        message = self._message(
            id=self._node.get_name(),
            instance_id=self._instance,
            active=active,
            heartbeat_timeout=float(self._config.timeout),
            heartbeat_period=float(self._config.heartbeat_period),
        )
        message.header.stamp = stamp_message(self._clock.now().nanoseconds)
        self._publisher.publish(message)
