"""The second pass through the real node, in its own process, over real ROS 2.

The only module of the demo that needs rclpy; it is imported when it is sure that there is one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
from deviloc_ros.bags.types import transform_of
from deviloc_ros.demo.passes import IMAGE_TOPIC, INFO_TOPIC
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.ros.messages import stamp_ns
from deviloc_ros.ros.player import BagPlayer, PlayOptions

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


def run_live(
    map_path: Path, bag_path: Path, log: Path, rate: float, progress: Callable[[], None]
) -> LiveRun:
    """Start the node, play the bag to it and record what it publishes.

    ROS traffic stays on this machine, in a domain of its own.

    Args:
        map_path: the map.
        bag_path: the recording.
        log: file for the node's output.
        rate: bag seconds per second.
        progress: called once an image is published.

    Raises:
        InputError: the node did not become active; the message names the log.
    """
    run = LiveRun(rate)
    domain = os.getpid() % 100 + 1
    context = Context()
    rclpy.init(
        args=[],
        context=context,
        domain_id=domain,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        with _node(map_path, log, domain, run) as process, _Recorder(context, run) as recorder:
            with Bag(bag_path) as bag:
                _play(context, bag, process, recorder, log, progress)
            recorder.wait_for_last()
    finally:
        rclpy.try_shutdown(context=context)
    return run


def _play(
    context: Context,
    bag: Bag,
    process: subprocess.Popen[bytes],
    recorder: _Recorder,
    log: Path,
    progress: Callable[[], None],
) -> None:
    node = rclpy.create_node("bag_player", context=context)

    def on_publish(item: Recorded) -> None:
        if item.topic == IMAGE_TOPIC:
            recorder.note_sent(stamp_ns(bag.deserialize(item).header.stamp))
            progress()

    options = PlayOptions(
        rate=recorder.run.rate, clock=True, wait_for=(IMAGE_TOPIC, INFO_TOPIC, "/tf_static")
    )
    player = BagPlayer(node, bag, options, on_publish)
    deadline = time.monotonic() + START_SECONDS
    while player.without_subscribers() or not recorder.connected:
        if process.poll() is not None or time.monotonic() > deadline:
            state = "ended" if process.poll() is not None else "did not become active"
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise InputError(f"the node {state}: {' '.join(last)} (see {log})")
        time.sleep(0.05)
    player.play()
    node.destroy_node()


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
        with self._changed:
            self.run.status[stamp_ns(message.header.stamp)] = message.status[0].message
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


@contextmanager
def _node(
    map_path: Path, log: Path, domain: int, run: LiveRun
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the node in a process of its own; SIGINT ends it."""
    parameters = {
        "map.path": str(map_path.resolve()),
        "autostart": "true",
        "use_sim_time": "true",
        "image.reliability": "reliable",
    }
    command = [sys.executable, "-m", "deviloc_ros.ros.main", "--ros-args"]
    command += [item for key, value in parameters.items() for item in ("-p", f"{key}:={value}")]
    command += ["-r", f"image:={IMAGE_TOPIC}", "-r", f"camera_info:={INFO_TOPIC}"]
    environment = os.environ | {
        "ROS_DOMAIN_ID": str(domain),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A process of a shell's background job would ignore SIGINT, and so would its children.
            preexec_fn=_listen_to_sigint,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                run.exit_code = process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                run.exit_code = process.wait()


def _listen_to_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
