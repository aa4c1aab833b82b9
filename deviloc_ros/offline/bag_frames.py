"""The images of a bag, put together as the node puts together those that it receives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from deviloc_ros.bags.reader import Bag, Recorded
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.messages.stamped import frame_of, stamp_ns
from deviloc_ros.offline.bag_cameras import BagCamera
from deviloc_ros.robot.calibration import CameraCalibration, InfoCalibration
from deviloc_ros.robot.config import ONE_CAMERA, RobotConfig
from deviloc_ros.robot.frame_set import Frame, FrameSet
from deviloc_ros.robot.synchronizer import Synchronizer

Listener: TypeAlias = Callable[[Any, int], object]
"""Gets a message, and when it was received, nanoseconds."""


@dataclass(frozen=True)
class Moment:
    """Images to be localized together.

    Attributes:
        frames: the images.
        at: when the last of them was received, or was no longer waited for, nanoseconds.
    """

    frames: FrameSet
    at: int


class BagFrames:
    """Goes through a bag in the order of reception, whose times are its clock.

    Args:
        bag: opened.
        config: of the robot.
        cameras: in the order of `config.cameras`.
        listeners: hear what else was received, by topic, before the images of a later time.
        refuse: is told of a message that cannot be read, which is then passed over.
    """

    def __init__(
        self,
        bag: Bag,
        config: RobotConfig,
        cameras: Sequence[BagCamera],
        listeners: Mapping[str, Listener],
        refuse: Callable[[Recorded, InputError], object],
    ) -> None:
        """Begin at the start."""
        self._bag = bag
        self._cameras = cameras
        self._listeners = listeners
        self._refuse = refuse
        self._synchronizer: Synchronizer | None = None
        if tuple(config.cameras) != ONE_CAMERA:
            tolerance = round(config.sync.tolerance * NANOSECONDS)
            self._synchronizer = Synchronizer(config.cameras, tolerance, config.sync.timeout)
        self._begin = bag.span[0]

    @property
    def count(self) -> int:
        """About how many moments there are."""
        return max(camera.topic.count for camera in self._cameras)

    def __iter__(self) -> Iterator[Moment]:
        """Yield the images of one instant after the other."""
        known = {camera.name: camera.first_calibration for camera in self._cameras}
        images = {camera.topic.name: camera for camera in self._cameras}
        infos = {camera.info_topic for camera in self._cameras if camera.info_topic is not None}
        topics = {*images, *infos, *self._listeners}
        messages = self._bag.read(topics, self._refuse)
        for received, together in itertools.groupby(messages, lambda pair: pair[0].stamp):
            yield from self._overdue(received)
            due: list[tuple[str, Any]] = []
            # Of what was received at once, a calibration holds for the image.
            for item, message in together:
                if item.topic in infos:
                    self._calibrate(known, item.topic, message)
                elif item.topic in images:
                    due.append((images[item.topic].name, message))
                else:
                    self._listeners[item.topic](message, received)
            for camera, message in due:
                yield from self._take(self._frame(message, camera, known[camera]), received)
        yield from self._overdue(None)

    def _calibrate(self, known: dict[str, CameraCalibration], topic: str, info: Any) -> None:
        for camera in self._cameras:
            if camera.info_topic == topic:
                known[camera.name] = InfoCalibration(info, camera.rectified)

    def _frame(self, message: Any, camera: str, calibration: CameraCalibration) -> Frame:
        header = message.header
        return Frame(
            camera, message, stamp_ns(header.stamp), frame_of(header.frame_id), calibration
        )

    def _take(self, frame: Frame, received: int) -> Iterator[Moment]:
        if self._synchronizer is None:
            yield Moment(FrameSet.of(frame), received)
            return
        for frames in self._synchronizer.add(frame, self._seconds(received)):
            yield Moment(frames, received)

    def _overdue(self, received: int | None) -> Iterator[Moment]:
        """Yield what need not wait until a time, nanoseconds, or until the end."""
        if self._synchronizer is None:
            return
        while (due := self._synchronizer.due) is not None:
            if received is not None and due > self._seconds(received):
                return
            for frames in self._synchronizer.flush(due):
                yield Moment(frames, self._begin + round(due * NANOSECONDS))

    def _seconds(self, received: int) -> float:
        """Return a time on the synchronizer's clock, which starts with the bag."""
        return (received - self._begin) / NANOSECONDS
