"""All cameras of the robot: their topics, and images of one instant put together."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode

from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.robot.config import ONE_CAMERA
from deviloc_ros.robot.frame_set import Frame, FrameSet
from deviloc_ros.robot.synchronizer import CameraCount, Synchronizer
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.inputs.camera_input import CameraInput
from deviloc_ros.ros.inputs.images import image_converter


class Cameras:
    """One camera on `image`, or a rig on `<name>/image`.

    Everything happens in the executor's thread.
    """

    def __init__(
        self, node: LifecycleNode, config: NodeConfig, on_frames: Callable[[FrameSet], None]
    ) -> None:
        """Listen to every camera_info; images come between `start` and `stop`."""
        self._on_frames = on_frames
        self._single = tuple(config.cameras) == ONE_CAMERA
        self.inputs = {
            name: CameraInput(node, config.image, name, self._on_frame) for name in config.cameras
        }
        """By name; the empty one is that of a single camera."""
        self.read_pixels, self._converter = image_converter()
        self._sync_config = config.sync
        self._synchronizer = self._make_synchronizer()
        self._node = node
        # On the machine's clock: late is late, however fast simulated time runs.
        self._timer = node.create_timer(
            config.sync.timeout, self._on_timer, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._timer.cancel()

    @property
    def topics(self) -> str:
        """The image topics, remaps applied, and which converter reads them."""
        return f"{', '.join(item.topic for item in self.inputs.values())} ({self._converter})"

    @property
    def uncalibrated(self) -> list[str]:
        """Topics on which no camera_info has come yet."""
        return [item.info_topic for item in self.inputs.values() if not item.calibrated]

    @property
    def decided(self) -> dict[str, str]:
        """Which calibration holds for each camera that has one, and why, by image topic."""
        return {item.topic: item.decided for item in self.inputs.values() if item.decided}

    @property
    def unpublished(self) -> tuple[str, ...]:
        """Cameras of a rig whose images nobody publishes."""
        return tuple(
            name
            for name, item in self.inputs.items()
            if not self._single and self._node.count_publishers(item.topic) == 0
        )

    @property
    def counts(self) -> dict[str, CameraCount]:
        """What became of each camera's images since `count_anew`; empty for a single camera."""
        return {} if self._single else dict(self._synchronizer.counts)

    def count_anew(self) -> None:
        """Set the counts to zero."""
        self._synchronizer = self._make_synchronizer()

    def start(self) -> None:
        """Let images in."""
        self._synchronizer.clear()
        for item in self.inputs.values():
            item.start()

    def stop(self) -> None:
        """Let no more images in."""
        self._timer.cancel()
        for item in self.inputs.values():
            item.stop()

    def clear(self) -> None:
        """Forget the images that wait: time has jumped back."""
        self._synchronizer.clear()

    def close(self) -> None:
        """Stop listening at all."""
        self.stop()
        self._node.destroy_timer(self._timer)
        for item in self.inputs.values():
            item.close()

    def _make_synchronizer(self) -> Synchronizer:
        tolerance = round(self._sync_config.tolerance * NANOSECONDS)
        return Synchronizer(list(self.inputs), tolerance, self._sync_config.timeout)

    def _on_frame(self, frame: Frame) -> None:
        if self._single:
            self._on_frames(FrameSet.of(frame))
        else:
            self._deliver(self._synchronizer.add(frame, time.monotonic()))

    def _on_timer(self) -> None:
        self._deliver(self._synchronizer.flush(time.monotonic()))

    def _deliver(self, sets: list[FrameSet]) -> None:
        for frames in sets:
            self._on_frames(frames)
        due = self._synchronizer.due
        if due is None:
            self._timer.cancel()
            return
        self._timer.timer_period_ns = max(round((due - time.monotonic()) * NANOSECONDS), 1)
        self._timer.reset()
