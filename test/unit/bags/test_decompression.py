"""Compressed bags: unpacked up to a limit, and a damaged message costs itself alone."""

from __future__ import annotations

import bz2
import sqlite3
import sys
from pathlib import Path
from typing import Any

import lz4.frame
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from deviloc_ros.bags import decompression, types
from deviloc_ros.bags.decompression import unpack_bz2, unpack_lz4, unpack_zstd
from deviloc_ros.bags.reader import Bag, Recorded
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

UNPACK = {unpack_zstd: zstd.compress, unpack_lz4: lz4.frame.compress, unpack_bz2: bz2.compress}


@pytest.mark.parametrize("unpack", UNPACK)
def test_up_to_the_limit(unpack: Any) -> None:
    packed = UNPACK[unpack](bytes(1000))
    assert unpack(packed, 1000) == bytes(1000)
    with pytest.raises(Exception, match="unpacks to more than 999 bytes"):
        unpack(packed, 999)
    with pytest.raises(Exception, match="cut short"):
        unpack(packed[:-5])
    with pytest.raises(Exception, match="is damaged"):
        unpack(b"no such data at all")


@pytest.mark.parametrize("unpack", UNPACK)
def test_frames_one_after_the_other(unpack: Any) -> None:
    packed = UNPACK[unpack](b"ab") + UNPACK[unpack](b"cd")
    assert unpack(packed, 4) == b"abcd"
    with pytest.raises(Exception, match="more than 3"):
        unpack(packed, 3)


def write_compressed(path: Path, mode: CompressionMode, plugin: StoragePlugin) -> Path:
    """Write /tf at 1, 2, ... 6 ns."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        sent = [types.tf(i, "odom", "base", Transform.identity()) for i in range(1, 7)]
        kind = sent[0].__msgtype__
        connection = writer.add_connection("/tf", kind, typestore=types.TYPESTORE)
        for index, message in enumerate(sent):
            data = types.TYPESTORE.serialize_cdr(message, kind)
            writer.write(connection, index + 1, bytes(data))
    return path


def test_a_message_that_cannot_be_unpacked_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_compressed(tmp_path / "bag", CompressionMode.MESSAGE, StoragePlugin.SQLITE3)
    bomb = zstd.compress(bytes(5_000_000))
    assert len(bomb) < 1000
    with sqlite3.connect(path / "bag.db3") as database:
        for number, data in ((2, b"nothing"), (4, bomb)):
            database.execute("UPDATE messages SET data = ? WHERE id = ?", (data, number))
    refused: list[tuple[Recorded, InputError]] = []
    monkeypatch.setattr(unpack_zstd, "__defaults__", (1_000_000,))
    with Bag(path) as bag:
        read = [item.stamp for item, _ in bag.read(["/tf"], lambda *why: refused.append(why))]
        with pytest.raises(InputError, match="/tf: the message received at 2 ns cannot be unp"):
            list(bag.raw())
    assert read == [1, 3, 5, 6]
    assert [item.stamp for item, _ in refused] == [2, 4]
    assert "unpacks to more than 1000000 bytes" in str(refused[1][1])


def test_a_chunk_unpacks_to_what_its_header_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_compressed(tmp_path / "bag", CompressionMode.STORAGE, StoragePlugin.MCAP)
    with Bag(path) as bag:
        assert [item.stamp for item in bag.raw()] == [1, 2, 3, 4, 5, 6]
    monkeypatch.setattr(decompression, "MOST_UNPACKED", 100)
    with Bag(path) as bag, pytest.raises(InputError, match="unpacks to more than 100 bytes"):
        list(bag.raw())
