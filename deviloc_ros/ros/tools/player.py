"""Publishes a rosbag2 over ROS 2 in its own rhythm: bytes as recorded, never decoded."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import QosDurability, QosReliability
from rosgraph_msgs.msg import Clock

from deviloc_ros.bags.reader import Bag, Recorded, Topic
from deviloc_ros.errors import InputError
from deviloc_ros.ros.messages import stamp_message

# Reliable messages that were lost are repeated after the middleware's next heartbeat.
ARRIVAL_SECONDS = 5
# A subscriber that we have found may not have found us yet; what is sent best effort meanwhile,
# such as the only camera_info, it never gets.
SETTLE_SECONDS = 0.3
CLOCK_PERIOD = 0.01
"""Wall time between messages on /clock, seconds."""


@dataclass(frozen=True)
class PlayOptions:
    """How a bag is played.

    Attributes:
        rate: bag seconds per wall second.
        loop: begin again at the end; ROS time then jumps back.
        clock: publish /clock, for nodes with use_sim_time.
        topics: only these; empty: all.
        remaps: topic of the bag to topic to publish on.
        wait_for: published topics that need a subscriber before it begins.
        wait_seconds: longest wait for them.
    """

    rate: float = 1.0
    loop: bool = False
    clock: bool = False
    topics: tuple[str, ...] = ()
    remaps: Mapping[str, str] = field(default_factory=dict)
    wait_for: tuple[str, ...] = ()
    wait_seconds: float = 30.0


class BagPlayer:
    """Plays one bag on one node.

    Args:
        node: publishes; it need not be spun.
        bag: opened.
        options: see `PlayOptions`.
        on_publish: is told every message just before it goes out.

    Raises:
        InputError: a topic is unknown, or no topic's type is installed.
    """

    def __init__(
        self,
        node: Node,
        bag: Bag,
        options: PlayOptions,
        on_publish: Callable[[Recorded], None] = lambda item: None,
    ) -> None:
        """Make the publishers."""
        self._bag = bag
        self._options = options
        self._on_publish = on_publish
        known = bag.topics
        for name in (*options.topics, *options.remaps):
            if name not in known:
                raise InputError(f"{bag.path}: no topic {name}; there are: {', '.join(known)}")
        self._publishers: dict[str, Publisher[Any]] = {}
        self.left_out: dict[str, str] = {}
        """Topics that are not played, each with its message type that is not installed."""
        for topic in known.values():
            if options.topics and topic.name not in options.topics:
                continue
            if options.clock and topic.name == "/clock":
                continue
            kind = _message_class(topic.type)
            if kind is None:
                self.left_out[topic.name] = topic.type
                continue
            name = options.remaps.get(topic.name, topic.name)
            self._publishers[topic.name] = node.create_publisher(kind, name, _qos(topic))
        if not self._publishers:
            raise InputError(f"{bag.path}: nothing to play: no topic, or no type is installed")
        self._clock = (
            node.create_publisher(Clock, "/clock", QoSProfile(depth=1)) if options.clock else None
        )

    def wait_for_subscribers(self) -> None:
        """Wait until somebody listens to each topic of `wait_for`, and to /clock if published.

        Raises:
            InputError: nobody came in time, or no such topic is published.
        """
        deadline = time.monotonic() + self._options.wait_seconds
        while missing := self.without_subscribers():
            if time.monotonic() > deadline:
                raise InputError(
                    f"nobody subscribed to {', '.join(missing)} within "
                    f"{self._options.wait_seconds:g} s; is the node running and active?"
                )
            time.sleep(0.02)

    def without_subscribers(self) -> list[str]:
        """Return the awaited topics that nobody listens to yet.

        Raises:
            InputError: an awaited topic is not published.
        """
        awaited: dict[str, Publisher[Any]] = {}
        for name in self._options.wait_for:
            found = [
                publisher
                for topic, publisher in self._publishers.items()
                if name in (topic, self._options.remaps.get(topic))
            ]
            if not found:
                raise InputError(f"--wait-for {name}: no such topic is played")
            awaited[name] = found[0]
        if awaited and self._clock is not None:
            awaited["/clock"] = self._clock
        return [
            name for name, publisher in awaited.items() if not publisher.get_subscription_count()
        ]

    def play(self) -> int:
        """Publish everything and return the number of messages; Ctrl-C raises KeyboardInterrupt.

        Every message has its time against the beginning, so that delays do not add up.

        Raises:
            InputError: the bag is damaged.
        """
        count = 0
        time.sleep(SETTLE_SECONDS)
        while True:
            begin: int | None = None
            wall_begin = time.monotonic()
            for item in self._messages():
                if begin is None:
                    begin = item.stamp
                self._wait_until(wall_begin, begin, item.stamp)
                self._tell_time(item.stamp)
                self._on_publish(item)
                publisher = self._publishers[item.topic]
                publisher.publish(item.data)
                count += 1
                if publisher.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL:
                    # Sent once, and needed by what follows: where a subscriber has not found us
                    # yet, middleware repeats it only seconds later. The drive waits meanwhile.
                    before = time.monotonic()
                    publisher.wait_for_all_acked(Duration(seconds=ARRIVAL_SECONDS))
                    wall_begin += time.monotonic() - before
            if not self._options.loop or begin is None:
                self._flush()
                return count

    def _messages(self) -> Iterator[Recorded]:
        yield from self._bag.raw(set(self._publishers))

    def _wait_until(self, wall_begin: float, begin: int, stamp: int) -> None:
        due = wall_begin + (stamp - begin) * 1e-9 / self._options.rate
        while (remaining := due - time.monotonic()) > 0:
            elapsed = max(0.0, time.monotonic() - wall_begin) * self._options.rate
            self._tell_time(min(begin + round(elapsed * 1e9), stamp))
            time.sleep(min(remaining, CLOCK_PERIOD))

    def _tell_time(self, stamp: int) -> None:
        if self._clock is not None:
            self._clock.publish(Clock(clock=stamp_message(stamp)))

    def _flush(self) -> None:
        """Give reliable subscribers time to fetch the last messages."""
        for publisher in self._publishers.values():
            publisher.wait_for_all_acked(Duration(seconds=ARRIVAL_SECONDS))


def play_bag(bag: Bag, options: PlayOptions, tell: Callable[[str], object]) -> int:
    """Play a bag on a node made for it, and return the number of messages.

    Args:
        bag: opened.
        options: see `PlayOptions`.
        tell: gets one line for each topic that is left out.

    Raises:
        InputError: as BagPlayer and `wait_for_subscribers`.
    """
    # Ctrl-C is Python's: rclpy's own handler would shut the context down under our feet.
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = rclpy.create_node("bag_player")
        player = BagPlayer(node, bag, options)
        for topic, kind in player.left_out.items():
            tell(f"left out: {topic}: {kind} is not installed")
        player.wait_for_subscribers()
        count = player.play()
        node.destroy_node()
        return count
    finally:
        rclpy.try_shutdown()


def _message_class(name: str) -> type[Any] | None:
    """Return the class of a type such as sensor_msgs/msg/Image, or None."""
    package, _, kind = name.partition("/msg/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError, ValueError):
        return None
    return found if isinstance(found, type) else None


def _qos(topic: Topic) -> QoSProfile:
    """Return the recorded quality of service; reliable where it is unknown."""
    latched = topic.name.endswith("tf_static") or any(
        qos.durability is QosDurability.TRANSIENT_LOCAL for qos in topic.qos
    )
    unreliable = any(qos.reliability is QosReliability.BEST_EFFORT for qos in topic.qos)
    return QoSProfile(
        depth=min(max([10, *(qos.depth for qos in topic.qos)]), 1000),
        reliability=ReliabilityPolicy.BEST_EFFORT if unreliable else ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )
