"""The transforms of a bag, looked up as the node looks up those of /tf."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from deviloc_ros.bags.reader import ODOMETRY_TYPE, TF_TYPE, Bag, Recorded
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import Link, link_of
from deviloc_ros.robot.told_once import ToldOnce
from deviloc_ros.robot.transform_buffer import TransformBuffer, TransformUnavailableError

LOOK_AHEAD = 1.0
"""A transform may be received so long after the image that needs it, seconds."""


class BagTransforms:
    """Follows a bag: fixed transforms are known from the start, others as the bag goes on.

    What the node waits for on its clock is waited for in the bag's time: a lookup with a timeout
    reads on until it is answered, or that much further. It is a `TransformLookup`.

    Args:
        bag: opened.
        odometry: a topic of nav_msgs/Odometry that says the same as /tf otherwise would.
        tell: takes a line about a frame whose transforms are ignored, as tf2 ignores them, and
            about a topic with messages that cannot be read.

    Raises:
        InputError: the bag is damaged.
    """

    def __init__(
        self,
        bag: Bag,
        odometry: str | None = None,
        *,
        tell: Callable[[str], object],
    ) -> None:
        """Read all of /tf_static."""
        self._ignored = ToldOnce(tell)
        self._buffer = TransformBuffer()
        moving, fixed = tf_topics(bag)
        for _, message in bag.read(fixed, self._refuse):
            for item in message.transforms:
                self._read(item, self._buffer.set_static_link)
        names = moving if odometry is None else [*moving, odometry]
        self._moving: Iterator[tuple[Recorded, Any]] = bag.read(names, self._refuse)
        self._next = next(self._moving, None)
        self._now = 0

    def advance(self, received: int) -> None:
        """Take in what was received until a time, nanoseconds, which is now."""
        self._now = received
        while self._next is not None and self._next[0].stamp <= received:
            self._take()

    def lookup(
        self, target: str, source: str, stamp: int, timeout: float = LOOK_AHEAD
    ) -> Transform:
        """Return target_from_source at a stamp, nanoseconds, reading up to `timeout` s ahead.

        Raises:
            TransformUnavailableError: the frames are not joined, or not at that time.
        """
        try:
            return self._buffer.lookup(target, source, stamp, timeout=0.0)
        except TransformUnavailableError:
            pass  # It may come; a chain is complete at a time once its last link is known later.
        while self._next is not None and self._next[0].stamp <= self._until(timeout):
            if self._take() >= stamp:
                try:
                    return self._buffer.lookup(target, source, stamp, timeout=0.0)
                except TransformUnavailableError:
                    continue
        return self._buffer.lookup(target, source, stamp, timeout=0.0)

    def newest(self, target: str, source: str) -> Transform:
        """Return the newest target_from_source.

        Raises:
            TransformUnavailableError: the frames are not joined, or at no common time.
        """
        return self._buffer.newest(target, source)

    def connected(self, target: str, source: str) -> bool:
        """Say whether any chain of transforms was seen between two frames, or soon will be."""
        while not self._buffer.connected(target, source):
            if self._next is None or self._next[0].stamp > self._until(LOOK_AHEAD):
                return False
            self._take()
        return True

    def _until(self, timeout: float) -> int:
        return self._now + round(timeout * NANOSECONDS)

    def _take(self) -> int:
        """Take the next message in and return the newest stamp in it, nanoseconds."""
        assert self._next is not None
        recorded, message = self._next
        newest = 0
        for item in [message] if recorded.type == ODOMETRY_TYPE else message.transforms:
            self._read(item, self._buffer.add_link)
            newest = max(newest, stamp_of(item))
        self._next = next(self._moving, None)
        return newest

    def _refuse(self, recorded: Recorded, error: InputError) -> None:
        self._ignored.tell((recorded.topic,), str(error))

    def _read(self, item: Any, add: Callable[[Link], None]) -> None:
        try:
            add(link_of(item))
        except InputError as error:
            self._ignored.tell(item.child_frame_id, str(error))


def tf_topics(bag: Bag) -> tuple[list[str], list[str]]:
    """Return the names of topics with transforms that move, and of those with fixed ones."""
    names = [topic.name for topic in bag.topics.values() if topic.type == TF_TYPE]
    fixed = [name for name in names if name.endswith("tf_static")]
    return [name for name in names if name not in fixed], fixed
