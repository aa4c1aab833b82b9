"""Reading rosbag2 (sqlite3 or mcap) and ROS 1 bags with errors that a person can act on."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError

from deviloc_ros.atomic import is_disk_full
from deviloc_ros.bags.decompression import PackedReader, unpack_zstd
from deviloc_ros.bags.ros1 import Ros1Reader
from deviloc_ros.bags.types import TYPESTORE
from deviloc_ros.errors import InputError

TF_TYPE = "tf2_msgs/msg/TFMessage"
ODOMETRY_TYPE = "nav_msgs/msg/Odometry"
INITIAL_POSE_TYPE = "geometry_msgs/msg/PoseWithCovarianceStamped"
FIX_TYPE = "sensor_msgs/msg/NavSatFix"
MOST_MESSAGES = 2**40


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: as recorded.
        type: such as sensor_msgs/msg/Image.
        count: number of messages.
        qos: what was recorded of its publishers' quality of service.
    """

    name: str
    type: str
    count: int
    qos: tuple[Qos, ...]


@dataclass(frozen=True)
class Recorded:
    """A message as it lies in the bag.

    Attributes:
        topic: where it was received.
        stamp: when it was received, nanoseconds.
        data: its serialized (CDR) bytes.
        type: its message type.
    """

    topic: str
    stamp: int
    data: bytes
    type: str


class Bag:
    """An opened bag; use it as a context manager."""

    def __init__(self, path: str | Path) -> None:
        """Open a folder with metadata.yaml, or a single .mcap or .db3 file, or .bag of ROS 1.

        Raises:
            InputError: it is not there, no bag, or damaged.
        """
        self.path = Path(path)
        if not self.path.exists():
            raise InputError(f"{path}: there is no such bag")
        ros1 = self.path.suffix == ".bag" and self.path.is_file()
        with readable(self.path):
            self._reader = Ros1Reader(self.path) if ros1 else PackedReader(self.path)
            self._reader.open()
            try:
                self._topics = self._read_topics()
                self._span = self._read_span()
            except BaseException:
                self.close()
                raise

    def __enter__(self) -> Bag:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.close()

    def close(self) -> None:
        """Close the files."""
        if self._reader.is_open:
            self._reader.close()

    @property
    def topics(self) -> Mapping[str, Topic]:
        """The topics by name."""
        return self._topics

    @property
    def span(self) -> tuple[int, int]:
        """First and last time of reception, nanoseconds; (0, 0) in an empty bag."""
        return self._span

    def _read_topics(self) -> dict[str, Topic]:
        """Return the topics; the library takes from metadata.yaml and SQLite whatever is there."""
        for item in self._reader.connections:
            if not (
                isinstance(item.topic, str)
                and isinstance(item.msgtype, str)
                and isinstance(item.msgcount, int)
                and 0 <= item.msgcount < MOST_MESSAGES
            ):
                raise ReaderError(
                    f"topic {item.topic!r} has type {item.msgtype!r} and {item.msgcount!r} messages"
                )
        return {
            name: Topic(
                name,
                info.msgtype or "",
                info.msgcount,
                tuple(qos for item in info.connections for qos in _qos(item)),
            )
            for name, info in self._reader.topics.items()
        }

    def _read_span(self) -> tuple[int, int]:
        if not self._reader.message_count:
            return 0, 0
        first, last = self._reader.start_time, self._reader.end_time - 1
        if not (_is_stamp(first) and _is_stamp(last) and first <= last):
            raise ReaderError(f"its messages were received from {first!r} to {last!r} ns")
        return first, last

    def raw(
        self,
        topics: Collection[str] | None = None,
        refuse: Callable[[Recorded, InputError], object] | None = None,
    ) -> Iterator[Recorded]:
        """Yield messages in the order of reception.

        Args:
            topics: their names; None: all.
            refuse: is told of a message that cannot be unpacked, which is then passed over; None:
                it is an error.

        Raises:
            InputError: the bag is damaged.
        """
        connections = [
            item for item in self._reader.connections if topics is None or item.topic in topics
        ]
        if not connections:
            return
        with readable(self.path):
            for connection, stamp, data in self._reader.messages(connections):
                if not _is_stamp(stamp) or not isinstance(data, bytes | bytearray | memoryview):
                    raise ReaderError(f"{connection.topic} has a message without stamp or data")
                item = Recorded(connection.topic, stamp, bytes(data), connection.msgtype)
                if self._reader.packed:
                    try:
                        item = replace(item, data=unpack_zstd(item.data))
                    except ReaderError as error:
                        damage = InputError(f"{self._place(item)} cannot be unpacked: {error}")
                        if refuse is None:
                            raise damage from None
                        refuse(item, damage)
                        continue
                yield item

    def _place(self, item: Recorded) -> str:
        return f"{self.path}: {item.topic}: the message received at {item.stamp} ns"

    def read(
        self,
        topics: Collection[str],
        refuse: Callable[[Recorded, InputError], object] | None = None,
    ) -> Iterator[tuple[Recorded, Any]]:
        """Yield messages of these topics with their deserialized form.

        Args:
            topics: their names.
            refuse: is told of a message that cannot be unpacked or deserialized, which is then
                passed over; None: it is an error.

        Raises:
            InputError: the bag is damaged, or a topic's type is not among ROS 2's standard ones.
        """
        for item in self.raw(topics, refuse):
            try:
                message = self.deserialize(item)
            except InputError as error:
                if refuse is None:
                    raise
                refuse(item, error)
                continue
            yield item, message

    def first(self, topic: str) -> tuple[Recorded, Any]:
        """Return the first message of a topic that can be read.

        Raises:
            InputError: there is none.
        """
        errors: list[InputError] = []
        found = next(self.read([topic], lambda _, error: errors.append(error)), None)
        if found is not None:
            return found
        if errors:
            raise errors[0]
        raise InputError(
            f"{self.path}: {topic} has no messages, though the bag says that it has "
            f"{self.topics[topic].count}; it is damaged"
        )

    def deserialize(self, item: Recorded) -> Any:
        """Return the message object of a recorded message.

        Raises:
            InputError: its bytes are not such a message.
        """
        if item.type not in TYPESTORE.fielddefs:
            raise InputError(f"{self.path}: {item.topic}: unknown message type {item.type}")
        try:
            return TYPESTORE.deserialize_cdr(item.data, item.type)
        except (
            SerdeError,
            struct.error,
            ValueError,
            IndexError,
            AssertionError,
            KeyError,
            TypeError,
            OverflowError,
            MemoryError,
        ) as error:
            raise InputError(f"{self._place(item)} is not a {item.type}: {_line(error)}") from None


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what the bag library raises about a damaged bag into an InputError.

    It checks little: errors of SQLite, of decompression, of YAML, of types and of memory come
    through as they are, so all are taken.
    """
    try:
        yield
    except (InputError, BrokenPipeError):
        raise
    except Exception as error:
        if is_disk_full(error):  # compressed bags are unpacked into a temporary folder
            raise
        raise InputError(f"{path}: not a readable bag: {_line(error)}") from None


def _is_stamp(value: object) -> bool:
    return isinstance(value, int) and abs(value) < 2**63


def _qos(connection: Connection) -> tuple[Qos, ...]:
    return tuple(getattr(connection.ext, "offered_qos_profiles", ()))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
