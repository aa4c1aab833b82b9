"""Looking transforms up: tf2_ros where it is installed, else our own listener and buffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import Link, link_of, transform_of
from deviloc_ros.robot.told_once import ToldOnce
from deviloc_ros.robot.transform_buffer import (
    TransformBuffer,
    TransformLookup,
    TransformUnavailableError,
)


class TfListener(TransformLookup, Protocol):
    """What the node needs of tf; safe to call from any thread."""

    def close(self) -> None:
        """Stop listening."""


def transform_lookup(node: Node) -> TfListener:
    """Start listening to /tf and /tf_static."""
    try:
        import tf2_ros
    except ImportError:
        return OwnLookup(node)
    return Tf2Lookup(node, tf2_ros)


class OwnLookup:
    """Subscriptions that fill a `TransformBuffer`; it is cleared when ROS time jumps back."""

    def __init__(self, node: Node) -> None:
        """Subscribe."""
        self._node = node
        self._buffer = TransformBuffer()
        self._ignored = ToldOnce(lambda text: node.get_logger().warning(text))
        reliable = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
        latched = QoSProfile(
            depth=100,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL,
        )
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", self._on_tf, reliable),
            node.create_subscription(TFMessage, "/tf_static", self._on_tf_static, latched),
        ]
        self._jump = on_time_jump_back(node, self._buffer.clear)

    def lookup(self, target: str, source: str, stamp: int, timeout: float) -> Transform:
        """Return target_from_source at a stamp, ns, or raise TransformUnavailableError."""
        return self._buffer.lookup(target, source, stamp, timeout)

    def newest(self, target: str, source: str) -> Transform:
        """Return the newest target_from_source, or raise TransformUnavailableError."""
        return self._buffer.newest(target, source)

    def connected(self, target: str, source: str) -> bool:
        """Say whether any chain of transforms was ever seen between two frames."""
        return self._buffer.connected(target, source)

    def close(self) -> None:
        """Stop listening."""
        self._jump.unregister()
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def _on_tf(self, message: TFMessage) -> None:
        for item in message.transforms:
            self._take(item, self._buffer.add_link)

    def _on_tf_static(self, message: TFMessage) -> None:
        for item in message.transforms:
            self._take(item, self._buffer.set_static_link)

    def _take(self, item: Any, add: Callable[[Link], None]) -> None:
        try:
            add(link_of(item))
        except InputError as error:
            self._ignored.tell(item.child_frame_id, str(error))


class Tf2Lookup:
    """tf2_ros' buffer and listener."""

    def __init__(self, node: Node, tf2_ros: Any) -> None:
        """Subscribe."""
        self._errors = tf2_ros.TransformException
        # Not node=node: the buffer would make a service that nothing gives back.
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, node)
        # Humble's buffer does not clear itself, and no buffer does so without the node.
        self._jump = on_time_jump_back(node, self._buffer.clear)

    def lookup(self, target: str, source: str, stamp: int, timeout: float) -> Transform:
        """Return target_from_source at a stamp, ns, or raise TransformUnavailableError."""
        if stamp < 0:
            # rclpy's Time refuses it. Drivers whose clock is not set stamp images so.
            raise TransformUnavailableError(f"the stamp {stamp} ns is before time began")
        return self._lookup(target, source, Time(nanoseconds=stamp), timeout)

    def newest(self, target: str, source: str) -> Transform:
        """Return the newest target_from_source, or raise TransformUnavailableError."""
        return self._lookup(target, source, Time(), 0.0)

    def _lookup(self, target: str, source: str, time: Time, timeout: float) -> Transform:
        try:
            found = self._buffer.lookup_transform(target, source, time, Duration(seconds=timeout))
        except self._errors as error:
            raise TransformUnavailableError(" ".join(str(error).split())) from None
        try:
            return transform_of(found.transform)
        except InputError as error:
            raise TransformUnavailableError(f"{source!r} in {target!r}: {error}") from None

    def connected(self, target: str, source: str) -> bool:
        """Say whether any chain of transforms was ever seen between two frames."""
        return bool(self._buffer.can_transform(target, source, Time()))

    def close(self) -> None:
        """Stop listening."""
        self._jump.unregister()
        self._listener.unregister()


def on_time_jump_back(node: Node, callback: Callable[[], None]) -> Any:
    """Call back when ROS time jumps back, as when a bag loops; returns a handle to unregister."""
    threshold = JumpThreshold(
        min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True
    )
    return node.get_clock().create_jump_callback(threshold, post_callback=lambda _: callback())
