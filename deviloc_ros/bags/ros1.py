"""ROS 1 bags (.bag, version 2.0), read as if they were rosbag2."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

from rosbags.interfaces import (
    Connection,
    ConnectionExtRosbag1,
    ConnectionExtRosbag2,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
    TopicInfo,
)
from rosbags.rosbag1 import Reader, ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from deviloc_ros.bags.types import TYPESTORE

RENAMED = {"tf/msg/tfMessage": "tf2_msgs/msg/TFMessage"}
"""Types that ROS 2 has under another name."""
ROS1_TYPES = get_typestore(Stores.ROS1_NOETIC)
for name in ("tf2_msgs/msg/TFMessage", "tf/msg/tfMessage"):  # rosbags has ROS 1's common types only
    ROS1_TYPES.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", name))
FOREVER = QosTime(2147483647, 4294967295)
LATCHED = Qos(
    QosHistory.UNKNOWN,
    0,
    QosReliability.RELIABLE,
    QosDurability.TRANSIENT_LOCAL,
    FOREVER,
    FOREVER,
    QosLiveliness.AUTOMATIC,
    FOREVER,
    avoid_ros_namespace_conventions=False,
)
"""What a latched topic of ROS 1 is in ROS 2."""


class Ros1Reader:
    """Has the part of rosbags' rosbag2 reader that `Bag` uses; messages come as CDR.

    Standard messages have the same fields in the same order in both, the header's `seq` aside,
    which is dropped. A message that is no message of its type becomes empty bytes, which nothing
    reads as a message either: only its reader can say whether one bad message matters.
    """

    packed = False
    """Messages are compressed in chunks only, which the library unpacks."""

    def __init__(self, path: Path) -> None:
        """Name the file; `open` reads its index.

        Raises:
            ReaderError: there is no such file.
        """
        self._reader = Reader(path)
        self._converted: dict[int, Connection] = {}

    def open(self) -> None:
        """Read the index.

        Raises:
            ReaderError: it is no bag, has no index or is damaged.
        """
        self._reader.open()
        self._converted = {item.id: _converted(item) for item in self._reader.connections}

    def close(self) -> None:
        """Close the file."""
        self._reader.close()

    @property
    def is_open(self) -> bool:
        """Whether the file is open."""
        return self._reader.bio is not None

    @property
    def connections(self) -> list[Connection]:
        """Publishers, with the types of ROS 2."""
        return list(self._converted.values())

    @property
    def topics(self) -> dict[str, TopicInfo]:
        """Topics, with the types of ROS 2."""
        found: dict[str, list[Connection]] = {}
        for item in self.connections:
            found.setdefault(item.topic, []).append(item)
        return {
            topic: TopicInfo(
                items[0].msgtype, items[0].msgdef, sum(item.msgcount for item in items), items
            )
            for topic, items in found.items()
        }

    @property
    def message_count(self) -> int:
        """Messages of all topics."""
        return self._reader.message_count

    @property
    def start_time(self) -> int:
        """When the first message was received, nanoseconds."""
        return self._reader.start_time

    @property
    def end_time(self) -> int:
        """The nanosecond after the last message was received."""
        return self._reader.end_time

    def messages(
        self, connections: Collection[Connection]
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Yield connection, time of reception in nanoseconds, and CDR bytes.

        Raises:
            ReaderError: the bag is damaged, or a type is not as ROS 1 (noetic) defines it.
        """
        chosen = {item.id for item in connections}
        own = [item for item in self._reader.connections if item.id in chosen]
        for item in own:
            if _known(item) and item.digest != _digest(item.msgtype):
                raise ReaderError(
                    f"{item.topic} was recorded with another definition of {item.msgtype} than "
                    "that of ROS 1 noetic"
                )
        for connection, stamp, data in self._reader.messages(own):
            yield self._converted[connection.id], stamp, _cdr(connection, data)


def _converted(connection: Connection) -> Connection:
    assert isinstance(connection.ext, ConnectionExtRosbag1)
    qos = [LATCHED] if connection.ext.latching else []
    return connection._replace(
        msgtype=RENAMED.get(connection.msgtype, connection.msgtype),
        ext=ConnectionExtRosbag2("cdr", qos),
    )


def _known(connection: Connection) -> bool:
    return (
        connection.msgtype in ROS1_TYPES.fielddefs
        and RENAMED.get(connection.msgtype, connection.msgtype) in TYPESTORE.fielddefs
    )


@cache
def _digest(msgtype: str) -> str:
    return ROS1_TYPES.generate_msgdef(msgtype, ros_version=1)[1]


def _cdr(connection: Connection, data: bytes) -> bytes:
    if not _known(connection):
        return bytes(data)  # its type is not in the store either: nothing here reads it
    name = RENAMED.get(connection.msgtype, connection.msgtype)
    try:
        return bytes(TYPESTORE.ros1_to_cdr(data, name))
    except (SerdeError, struct.error, ValueError, IndexError, AssertionError, OverflowError):
        return b""
