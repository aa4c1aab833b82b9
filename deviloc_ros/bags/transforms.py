"""The transforms of a bag, looked up as the node looks up those of /tf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deviloc_ros.bags.reader import TF_TYPE, Bag, Recorded
from deviloc_ros.bags.types import stamp_of, transform_of
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.transform_buffer import TransformBuffer

LOOK_AHEAD_NS = 1_000_000_000
"""A transform may be received this long after the image that needs it."""


class BagTransforms:
    """Follows a bag: fixed transforms are known from the start, others as the bag goes on."""

    def __init__(self, bag: Bag) -> None:
        """Read all of /tf_static.

        Raises:
            InputError: the bag is damaged.
        """
        self._buffer = TransformBuffer()
        names = [topic.name for topic in bag.topics.values() if topic.type == TF_TYPE]
        fixed = [name for name in names if name.endswith("tf_static")]
        for _, message in bag.read(fixed):
            for item in message.transforms:
                parent, child = item.header.frame_id, item.child_frame_id
                self._buffer.set_static(
                    parent.lstrip("/"), child.lstrip("/"), transform_of(item.transform)
                )
        self._moving: Iterator[tuple[Recorded, Any]] = bag.read(
            [name for name in names if name not in fixed]
        )
        self._next = next(self._moving, None)

    def advance(self, received: int) -> None:
        """Take in what was received until a little after this time, nanoseconds."""
        while self._next is not None and self._next[0].stamp <= received + LOOK_AHEAD_NS:
            for item in self._next[1].transforms:
                self._buffer.add(
                    item.header.frame_id.lstrip("/"),
                    item.child_frame_id.lstrip("/"),
                    stamp_of(item),
                    transform_of(item.transform),
                )
            self._next = next(self._moving, None)

    def lookup(self, target: str, source: str, stamp: int) -> Transform:
        """Return target_from_source at a stamp, nanoseconds.

        Raises:
            TransformUnavailableError: the frames are not joined, or not at that time.
        """
        return self._buffer.lookup(target, source, stamp, timeout=0.0)
