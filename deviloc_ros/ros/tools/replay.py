"""Play a bag to the real node in its own process, and record what it publishes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from tf2_msgs.msg import TFMessage

from deviloc_ros.bags.reader import Bag, Recorded
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import stamp_ns, transform_of
from deviloc_ros.ros.tools.node_process import NodeProcess
from deviloc_ros.ros.tools.player import BagPlayer, PlayOptions

POSE_TOPIC, STATUS_TOPIC = "/localization/pose", "/localization/status"
START_SECONDS, SILENCE_SECONDS = 120.0, 20.0


@dataclass(frozen=True)
class LivePose:
    """A pose as it came from the node.

    Attributes:
        map_from_base: the pose.
        covariance: (6, 6), x y z rx ry rz.
        numbers: (43,) float64, the message's own: position, quaternion x y z w, covariance.
        latency: wall time from publishing the image to receiving the pose, seconds.
    """

    map_from_base: Transform
    covariance: NDArray[np.float64]
    numbers: NDArray[np.float64]
    latency: float


@dataclass
class LiveRun:
    """What was recorded.

    Attributes:
        rate: at which the bag was played.
        poses: by the image's stamp, nanoseconds.
        status: what the node said about each image it looked at, by stamp.
        map_from_odom: (stamp, transform) from /tf.
        sent: wall time at which each image was published, by stamp.
        exit_code: of the node's process after SIGINT.
    """

    rate: float
    poses: dict[int, LivePose] = field(default_factory=dict)
    status: dict[int, str] = field(default_factory=dict)
    map_from_odom: list[tuple[int, Transform]] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    exit_code: int | None = None


@dataclass(frozen=True)
class ReplayTopics:
    """Topics of the bag that the node listens to."""

    image: str
    camera_info: str


def replay(
    map_path: Path,
    bag_path: Path,
    topics: ReplayTopics,
    log: Path,
    rate: float,
    progress: Callable[[], object],
) -> LiveRun:
    """Start the node, play the bag to it and record what it publishes.

    ROS traffic stays on this machine, in a domain of its own.

    Args:
        map_path: the map.
        bag_path: the recording.
        topics: of the recording.
        log: file for the node's output.
        rate: bag seconds per second.
        progress: called when an image is published.

    Raises:
        InputError: the node did not become active; the message names the log.
    """
    run = LiveRun(rate)
    domain = os.getpid() % 100 + 1
    parameters = {
        "map.path": str(map_path.resolve()),
        "autostart": "true",
        "use_sim_time": "true",
        "image.reliability": "reliable",
        # Poses are compared with those of images looked at one by one, without what came before.
        "tracking.enabled": "false",
    }
    remaps = {"image": topics.image, "camera_info": topics.camera_info}
    context = Context()
    rclpy.init(
        args=[],
        context=context,
        domain_id=domain,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        process = NodeProcess(parameters, remaps, log, domain)
        with process, _Recorder(context, run) as recorder, Bag(bag_path) as bag:
            node = rclpy.create_node("bag_player", context=context)

            def on_publish(item: Recorded) -> None:
                if item.topic == topics.image:
                    recorder.note_sent(stamp_ns(bag.deserialize(item).header.stamp))
                    progress()

            awaited = (topics.image, topics.camera_info, "/tf_static")
            options = PlayOptions(rate=rate, clock=True, wait_for=awaited)
            player = BagPlayer(node, bag, options, on_publish)
            _wait_for_node(process, player, recorder, log)
            player.play()
            recorder.wait_for_last()
        run.exit_code = process.exit_code
    finally:
        rclpy.try_shutdown(context=context)
    return run


def _wait_for_node(process: NodeProcess, player: BagPlayer, recorder: _Recorder, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while player.without_subscribers() or not recorder.connected:
        if process.ended or time.monotonic() > deadline:
            state = "ended" if process.ended else "did not become active"
            raise InputError(f"the node {state}: {process.last_words()} (see {log})")
        time.sleep(0.05)


class _Recorder:
    """Listens in a thread of its own."""

    def __init__(self, context: Context, run: LiveRun) -> None:
        self.run = run
        self._node = rclpy.create_node("demo_recorder", context=context)
        self._changed = threading.Condition()
        deep = QoSProfile(depth=1000)
        self._node.create_subscription(PoseWithCovarianceStamped, POSE_TOPIC, self._on_pose, deep)
        self._node.create_subscription(DiagnosticArray, STATUS_TOPIC, self._on_status, deep)
        self._node.create_subscription(TFMessage, "/tf", self._on_tf, deep)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="recorder", daemon=True)

    def __enter__(self) -> _Recorder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join()
        self._node.destroy_node()

    @property
    def connected(self) -> bool:
        """Whether the node's publishers have been found."""
        return all(self._node.count_publishers(topic) for topic in (POSE_TOPIC, STATUS_TOPIC))

    def note_sent(self, stamp: int) -> None:
        with self._changed:
            self.run.sent[stamp] = time.monotonic()

    def wait_for_last(self) -> None:
        """Wait until the node has said something about the last image it will look at."""
        last = max(self.run.sent, default=0)
        with self._changed:
            self._changed.wait_for(lambda: last in self.run.status, SILENCE_SECONDS)
            # The pose goes out just before the status; DDS does not order the two topics.
            localized = self.run.status.get(last) == "LOCALIZED"
            self._changed.wait_for(lambda: not localized or last in self.run.poses, 2.0)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_pose(self, message: PoseWithCovarianceStamped) -> None:
        now, stamp = time.monotonic(), stamp_ns(message.header.stamp)
        with self._changed:
            self.run.poses[stamp] = LivePose(
                transform_of(message.pose.pose),
                np.array(message.pose.covariance).reshape(6, 6),
                _numbers(message),
                now - self.run.sent.get(stamp, now),
            )
            self._changed.notify_all()

    def _on_status(self, message: DiagnosticArray) -> None:
        about_image = message.status[0]
        if not about_image.name.endswith(": localization"):
            return
        with self._changed:
            self.run.status[stamp_ns(message.header.stamp)] = about_image.message
            self._changed.notify_all()

    def _on_tf(self, message: TFMessage) -> None:
        for item in message.transforms:
            if (item.header.frame_id, item.child_frame_id) == ("map", "odom"):
                self.run.map_from_odom.append(
                    (stamp_ns(item.header.stamp), transform_of(item.transform))
                )


def _numbers(message: PoseWithCovarianceStamped) -> NDArray[np.float64]:
    p, q = message.pose.pose.position, message.pose.pose.orientation
    return np.array([p.x, p.y, p.z, q.x, q.y, q.z, q.w, *message.pose.covariance])
