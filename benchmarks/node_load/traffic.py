"""What stands around a node under load: cameras that do not wait, and ears."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.messages.stamped import stamp_ns
from deviloc_ros.ros.messages import stamp_message
from node_load.record import Answer, Record


class Load:
    """Publishes sets of images and listens to the node, in threads; a context manager.

    Args:
        context: initialised.
        images: of each camera by name, (H, W) or (H, W, 3); shown one after the other.
        camera: intrinsics of all cameras.
        rate: sets a second.
        process: of the node, its id.
        now: the time of stamps, nanoseconds.
    """

    def __init__(
        self,
        context: Context,
        images: Mapping[str, Sequence[NDArray[np.uint8]]],
        camera: Camera,
        rate: float,
        process: int,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        """Make publishers and subscriptions."""
        self.record = Record()
        self._rate, self._process, self._now = rate, process, now
        self._resting = threading.Event()
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

    def rest(self) -> None:
        """Publish no more images; go on listening."""
        self._resting.set()

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
        while not (self._stopping.is_set() or self._resting.is_set()):
            stamp = self._now()
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
        if not message.status[0].name.endswith(": localization"):
            return  # The search mode changed; that is no result.
        stamp = stamp_ns(message.header.stamp)
        if stamp in (0, round((self.record.answers or [Answer(0, 0, "")])[-1].stamp * 1e9)):
            return
        text = message.status[0].message
        self.record.answers.append(Answer(stamp * 1e-9, time.time(), text))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.record.diagnostics = {item.key: item.value for item in status.values}


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
