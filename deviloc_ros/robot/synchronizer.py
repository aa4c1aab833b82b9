"""Puts images of one instant together, and does not wait long for those that are late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from deviloc_ros.robot.frame_set import Frame, FrameSet

SILENT_NS = 1_000_000_000
"""A camera that sets have left without for so long, by stamps, is not waited for."""


@dataclass
class CameraCount:
    """What became of one camera's images.

    Attributes:
        received: images that came.
        missing: sets that left without one.
        late: images whose set had left, or was overtaken by a newer one.
        silent: sets have left without it for so long that it is not waited for.
    """

    received: int = 0
    missing: int = 0
    late: int = 0
    silent: bool = False


@dataclass(eq=False)
class _Waiting:
    """Images of one instant, the first of which gave it its stamp and came at `opened`, s."""

    stamp: int
    opened: float
    frames: dict[str, Frame] = field(default_factory=dict)


class Synchronizer:
    """Collects images of several cameras into sets.

    A set leaves when every camera is in it, has already sent an image of a later instant (a
    camera's images come in order), has been silent for a while, or when it has waited `timeout`.
    Sets leave in the order of their stamps; what an older one still waited for is given up. Not
    safe for several threads.

    Args:
        names: of the cameras; the first of them that is in a set gives it its stamp.
        tolerance: images this far apart are of one instant, nanoseconds.
        timeout: seconds.
    """

    def __init__(self, names: Sequence[str], tolerance: int, timeout: float) -> None:
        """Start without images."""
        self._names = tuple(names)
        self._tolerance = tolerance
        self._timeout = timeout
        self._waiting: list[_Waiting] = []
        self._newest: dict[str, int] = {}
        self._first = 0
        self._sent: _Waiting | None = None
        self.counts = {name: CameraCount() for name in self._names}
        """By camera, since the beginning."""

    @property
    def due(self) -> float | None:
        """When `flush` has something to do, on the clock of `add`; None while nothing waits."""
        opened = [item.opened for item in self._waiting]
        return min(opened) + self._timeout if opened else None

    def clear(self) -> None:
        """Forget all images, but not the counts: time has jumped back."""
        self._waiting.clear()
        self._newest.clear()
        self._sent = None

    def add(self, frame: Frame, now: float) -> list[FrameSet]:
        """Take an image and return the sets that need not wait any longer.

        Args:
            frame: of one of the cameras.
            now: on a steady clock, seconds.
        """
        count = self.counts[frame.camera]
        count.received += 1
        count.silent = False
        newest = self._newest.get(frame.camera)
        if newest is not None and frame.stamp < newest - SILENT_NS:
            self.clear()
            newest = None
        if (newest is not None and frame.stamp <= newest) or self._has_left(frame):
            count.late += 1
            return []
        if not self._newest:
            self._first = frame.stamp
        self._newest[frame.camera] = frame.stamp
        self._place(frame, now)
        return self.flush(now)

    def flush(self, now: float) -> list[FrameSet]:
        """Return the sets that need not wait any longer, oldest first."""
        ready = []
        for item in list(self._waiting):
            if item in self._waiting and self._is_settled(item, now):
                ready.append(self._send(item))
        return ready

    def _has_left(self, frame: Frame) -> bool:
        sent = self._sent
        if sent is None:
            return False
        near = frame.stamp <= sent.stamp + self._tolerance and frame.camera not in sent.frames
        return near or frame.stamp < sent.stamp

    def _place(self, frame: Frame, now: float) -> None:
        """Put a frame into the set nearest in time, or into a new one."""
        fitting = [
            item
            for item in self._waiting
            if abs(item.stamp - frame.stamp) <= self._tolerance and frame.camera not in item.frames
        ]
        if fitting:
            item = min(fitting, key=lambda item: abs(item.stamp - frame.stamp))
        else:
            item = _Waiting(frame.stamp, now)
            self._waiting.append(item)
            self._waiting.sort(key=lambda item: item.stamp)
        item.frames[frame.camera] = frame

    def _is_settled(self, item: _Waiting, now: float) -> bool:
        """Whether nothing more will come, or it has waited long enough."""
        if now >= item.opened + self._timeout:
            return True
        return all(
            name in item.frames
            or self._newest.get(name, item.stamp) > item.stamp + self._tolerance
            or self._is_silent(name)
            for name in self._names
        )

    def _is_silent(self, name: str) -> bool:
        """Whether sets have left without a camera for a while."""
        newest = self._newest.get(name, self._first)
        return self._sent is not None and newest < self._sent.stamp - SILENT_NS

    def _send(self, item: _Waiting) -> FrameSet:
        for older in self._waiting[: self._waiting.index(item)]:
            for name in older.frames:
                self.counts[name].late += 1
        del self._waiting[: self._waiting.index(item) + 1]
        self._sent = item
        frames = tuple(item.frames[name] for name in self._names if name in item.frames)
        missing = tuple(name for name in self._names if name not in item.frames)
        for name in missing:
            self.counts[name].missing += 1
            self.counts[name].silent = self._is_silent(name)
        return FrameSet(frames[0].stamp, frames, missing)
