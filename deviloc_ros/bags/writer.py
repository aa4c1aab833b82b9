"""Writing rosbag2: the bag appears under its name only when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer

from deviloc_ros.bags.types import TYPESTORE
from deviloc_ros.errors import InputError

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}


class BagWriter:
    """A new bag; use it as a context manager.

    It is written beside its place and moved there at the end. On an exception nothing stays, and
    an older bag of that name is left as it was.
    """

    def __init__(self, path: str | Path, storage: str = "mcap") -> None:
        """Begin a bag.

        Args:
            path: the bag's folder; an existing bag there is replaced.
            storage: mcap or sqlite3.

        Raises:
            InputError: the folder cannot be written, or something that is no bag is in the way.
        """
        self.path = Path(path).resolve()  # a link stays, the bag that it names is replaced
        if self.path.exists() and not (self.path / "metadata.yaml").is_file():
            raise InputError(f"{path}: exists and is not a rosbag2; give another name")
        try:
            self._work = Path(tempfile.mkdtemp(dir=self.path.parent, prefix=f".{self.path.name}."))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); give a path in a writable folder"
            ) from None
        # rosbags names the storage file after the folder.
        self._writer = Writer(
            self._work / self.path.name, version=9, storage_plugin=STORAGES[storage]
        )
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        """Open the storage."""
        self._writer.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the whole bag into its place, or remove it after an exception."""
        try:
            self._writer.close()
            if kind is None:
                if self.path.exists():
                    shutil.rmtree(self.path)
                os.replace(self._work / self.path.name, self.path)
        finally:
            shutil.rmtree(self._work, ignore_errors=True)

    def write(self, topic: str, stamp: int, sent: Any, latched: bool = False) -> None:
        """Add a message.

        Args:
            topic: absolute name.
            stamp: time of reception, nanoseconds.
            sent: a message object of `bags.types`.
            latched: the topic's last message is kept for late subscribers, as /tf_static's.
        """
        kind = sent.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, kind, typestore=TYPESTORE, offered_qos_profiles=[_qos(latched)]
            )
        self._writer.write(self._connections[topic], stamp, TYPESTORE.serialize_cdr(sent, kind))


def _qos(latched: bool) -> Qos:
    never = QosTime(2147483647, 4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        False,
    )
