"""Whether the node stands load: images come faster than it can work, for as long as one likes.

    ./run bench load [--minutes 10] [--work DIR] [--json FILE]

A rig of three cameras, 1024x768 colour at 20 Hz, is published to the real node in a process of its
own over DDS; it localizes the rig in a map of the simulated wall. In the second half a reader that
takes seconds for each message listens as well. Printed: memory over time, latency, what was
dropped, what the reader changed, and how long the node takes to end on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from scipy.spatial.transform import Rotation
from sensor_msgs.msg import CameraInfo, Image

from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.ros.messages import stamp_message, stamp_ns
from deviloc_ros.ros.node_process import NodeProcess
from deviloc_ros.simulation import wall

CAMERA = Camera("PINHOLE", 1024, 768, (850.0, 850.0, 512.0, 384.0))
MOUNT = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
RIG = {
    name: Transform(Rotation.from_euler("z", yaw, degrees=True) * MOUNT, np.array([0.2, y, 1.0]))
    for name, yaw, y in (("left", 20, 0.2), ("front", 0, 0.0), ("right", -20, -0.2))
}
PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds_shm.xml"


@dataclass(frozen=True)
class Answer:
    """What the node said about a set of images.

    Attributes:
        stamp: of the images, seconds.
        arrived: when the answer came, on the same clock.
        text: LOCALIZED, or the reason for no pose.
    """

    stamp: float
    arrived: float
    text: str


@dataclass
class Record:
    """What was observed.

    Attributes:
        sent: stamps of the sets published, seconds.
        answers: in the order of arrival.
        memory: (time, MB) of the node's process, once a second.
        diagnostics: the newest values.
    """

    sent: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    diagnostics: dict[str, str] = field(default_factory=dict)

    def latencies(self) -> NDArray[np.float64]:
        """Return the time from stamp to answer of every answer, seconds."""
        return np.array([answer.arrived - answer.stamp for answer in self.answers])

    def excess(self) -> NDArray[np.float64]:
        """Return by how much each answer but the first is older than the time it took, seconds.

        A node that always takes the newest images begins with images as old as transport makes
        them when it has given the answer before. One that queues falls behind more and more.
        """
        return np.array(
            [
                (after.arrived - after.stamp) - (after.arrived - before.arrived)
                for before, after in zip(self.answers[:-1], self.answers[1:], strict=True)
            ]
        )


class Load:
    """Publishes sets of images and listens to the node, in threads; a context manager.

    Args:
        context: initialised.
        images: of each camera by name, (H, W) or (H, W, 3); shown one after the other.
        camera: intrinsics of all cameras.
        rate: sets a second.
        process: of the node, its id.
    """

    def __init__(
        self,
        context: Context,
        images: Mapping[str, Sequence[NDArray[np.uint8]]],
        camera: Camera,
        rate: float,
        process: int,
    ) -> None:
        """Make publishers and subscriptions."""
        self.record = Record()
        self._rate, self._process = rate, process
        self._node = Node("load", context=context)
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self._images = {
            name: (
                self._node.create_publisher(Image, f"/{name}/image", newest),
                [image_message(f"{name}_optical", pixels) for pixels in views],
            )
            for name, views in images.items()
        }
        self._infos = {
            name: (
                self._node.create_publisher(CameraInfo, f"/{name}/camera_info", 1),
                info_message(f"{name}_optical", camera),
            )
            for name in images
        }
        self._node.create_subscription(
            DiagnosticArray, "/localization/status", self._on_status, QoSProfile(depth=100)
        )
        self._node.create_subscription(
            DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10)
        )
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._spin, self._publish, self._watch)
        ]

    def __enter__(self) -> Load:
        """Begin to publish."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop publishing and listening."""
        self._stopping.set()
        for thread in self._threads[1:]:
            thread.join()
        self._executor.shutdown()
        self._threads[0].join()
        self._node.destroy_node()

    def wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait until a condition holds.

        Raises:
            TimeoutError: it does not.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {seconds:g} s in vain; {self.record.diagnostics}")
            time.sleep(0.05)

    def _spin(self) -> None:
        with suppress(ExternalShutdownException):
            self._executor.spin()

    def _publish(self) -> None:
        count, due = 0, time.monotonic()
        while not self._stopping.is_set():
            stamp = time.time_ns()
            for infos, info in self._infos.values():
                info.header.stamp = stamp_message(stamp)
                infos.publish(info)
            for images, views in self._images.values():
                view = views[count % len(views)]
                view.header.stamp = stamp_message(stamp)
                images.publish(view)
            self.record.sent.append(stamp * 1e-9)
            count += 1
            # A publisher that was held up does not catch up.
            due = max(due + 1 / self._rate, time.monotonic())
            time.sleep(max(due - time.monotonic(), 0.0))

    def _watch(self) -> None:
        while not self._stopping.wait(1.0):
            with suppress(OSError):
                self.record.memory.append((time.monotonic(), resident_mb(self._process)))

    def _on_status(self, message: DiagnosticArray) -> None:
        stamp = stamp_ns(message.header.stamp)
        if stamp in (0, round((self.record.answers or [Answer(0, 0, "")])[-1].stamp * 1e9)):
            return
        text = message.status[0].message
        self.record.answers.append(Answer(stamp * 1e-9, time.time(), text))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.record.diagnostics = {item.key: item.value for item in status.values}


class SlowReader:
    """Listens to all that the node says, reliably, and takes seconds for each message."""

    def __init__(self, context: Context, seconds: float) -> None:
        """Subscribe."""
        self.read = 0
        self._node = Node("slow_reader", context=context)
        reliable = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        for kind, topic in (
            (DiagnosticArray, "/localization/status"),
            (Image, "/localization/debug_image"),
        ):
            self._node.create_subscription(kind, topic, self._on_message, reliable)
        self._seconds = seconds
        self._stopping = threading.Event()
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, daemon=True)

    def __enter__(self) -> SlowReader:
        """Begin to listen."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._stopping.set()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        while not self._stopping.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_message(self, _: object) -> None:
        self.read += 1
        self._stopping.wait(self._seconds)


def image_message(frame: str, pixels: NDArray[np.uint8]) -> Image:
    """Return (H, W) gray or (H, W, 3) RGB as a message."""
    message = Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        step=pixels.strides[0],
        encoding="mono8" if pixels.ndim == 2 else "rgb8",
    )
    message.header.frame_id = frame
    message.data = pixels.tobytes()
    return message


def info_message(frame: str, camera: Camera) -> CameraInfo:
    """Return the calibration of a PINHOLE camera."""
    fx, fy, cx, cy = camera.params
    message = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    message.header.frame_id = frame
    message.k = [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx - 0.5, 0.0, 0.0, fy, cy - 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    message.d = [0.0] * 5
    return message


def resident_mb(process: int) -> float:
    """Return what a process holds in memory of its own, MB; without shared memory and files."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    (anonymous,) = (line.split()[1] for line in lines if line.startswith("RssAnon:"))
    return int(anonymous) / 1024


def node_parameters(map_path: Path, rig: dict[str, Transform]) -> dict[str, str]:
    """Return what makes the node localize a rig by itself."""
    numbers = {
        "translation": [value for pose in rig.values() for value in pose.translation.tolist()],
        "rotation": [value for pose in rig.values() for value in pose.quaternion_xyzw.tolist()],
    }
    return {
        "map.path": str(map_path),
        "autostart": "true",
        "cameras": f"[{', '.join(rig)}]",
        "extrinsics.source": "parameters",
        **{f"extrinsics.{name}": str(values) for name, values in numbers.items()},
        "debug.publish_image": "true",
    }


def make_map(folder: Path) -> Path:
    """Build the map of the wall, or take the one that is there."""
    path = folder / "wall.devmap"
    if path.exists():
        return path
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "model").mkdir(exist_ok=True)
    posed = []
    for index, x in enumerate(np.linspace(-3, 3, 9)):
        place = wall.before_the_wall(float(x), yaw=float(10 * (-1) ** index))
        pose = place @ RIG["front"]
        name = f"{index:02d}.png"
        cv2.imwrite(str(folder / "images" / name), wall.view(pose, CAMERA))
        posed.append(PosedImage(name, CAMERA, pose.inverse()))
    write_posed_images(folder / "model", posed)
    options = BuildOptions(metric=True, gravity_aligned=True)
    build_map(folder / "images", path, folder / "model", options)
    return path


def report(record: Record, half: float, read: int) -> dict[str, object]:
    """Return the figures."""
    # Caches fill in the beginning: references, compiled networks, the allocators' arenas.
    warm = record.memory[len(record.memory) // 5 :]
    times, memory = (np.array(column) for column in zip(*warm, strict=True))
    slope = float(np.polyfit(times - times[0], memory, 1)[0]) * 3600
    parts = {
        "before the slow reader": [a for a in record.answers if a.arrived < half],
        "with the slow reader": [a for a in record.answers if a.arrived >= half],
    }
    return {
        "minutes": round((record.memory[-1][0] - record.memory[0][0]) / 60, 1),
        "sets sent": len(record.sent),
        "answers": len(record.answers),
        "localized": sum(answer.text == "LOCALIZED" for answer in record.answers),
        "dropped by the node": record.diagnostics.get("frames_dropped"),
        "memory MB at first": round(record.memory[0][1], 1),
        "memory MB after a fifth of the time": round(float(np.median(memory[:10])), 1),
        "memory MB at the end": round(float(np.median(memory[-10:])), 1),
        "memory MB at most": round(float(memory.max()), 1),
        "memory MB an hour, after a fifth of the time": round(slope, 1),
        "latency s, median": round(float(np.median(record.latencies())), 3),
        "latency s, 99 %": round(float(np.quantile(record.latencies(), 0.99)), 3),
        "latency s, most": round(float(record.latencies().max()), 3),
        "age of images taken up s, 99 %": round(float(np.quantile(record.excess(), 0.99)), 3),
        **{
            f"{name}: answers a second, median latency s": (
                round((len(part) - 1) / (part[-1].arrived - part[0].arrived), 2),
                round(float(np.median([a.arrived - a.stamp for a in part])), 3),
            )
            for name, part in parts.items()
        },
        "messages read by the slow reader": read,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work", type=Path, help="folder that keeps the map between runs")
    parser.add_argument("--json", type=Path, help="write the figures and the series")
    args = parser.parse_args()
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(PROFILE)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        map_path = make_map(folder)
        images = {
            name: [
                np.repeat(wall.view(wall.before_the_wall(x) @ mount, CAMERA)[..., None], 3, axis=2)
                for x in np.linspace(-2, 2, 10)
            ]
            for name, mount in RIG.items()
        }
        domain = os.getpid() % 100 + 1
        context = Context()
        rclpy.init(
            context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO
        )
        process = NodeProcess(node_parameters(map_path, RIG), {}, folder / "node.log", domain)
        with process, Load(context, images, CAMERA, 20.0, process.pid) as load:
            load.wait(lambda: len(load.record.answers) > 5, 300)
            seconds = args.minutes * 60
            time.sleep(seconds / 2)
            half = time.time()
            with SlowReader(context, 3.0) as reader:
                time.sleep(seconds / 2)
            figures = report(load.record, half, reader.read)
            begin = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            while not process.ended:
                time.sleep(0.01)
            figures["seconds from SIGTERM to the end"] = round(time.monotonic() - begin, 2)
        figures["load average of the machine"] = os.getloadavg()
        figures["exit code"] = process.exit_code
        rclpy.try_shutdown(context=context)
    for name, value in figures.items():
        print(f"{name:<55}{value}")
    if args.json:
        series = {"memory": load.record.memory, "latency": load.record.latencies().tolist()}
        args.json.write_text(json.dumps({**figures, **series}))


if __name__ == "__main__":
    main()
