"""Unpacking the messages and chunks of bags, up to a limit only.

A few bytes of zstd can claim any size: 4 bytes become 128 KiB. rosbags unpacks whatever there is.
"""

from __future__ import annotations

import bz2
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lz4.frame import LZ4FrameDecompressor
from rosbags.rosbag1 import reader as rosbag1
from rosbags.rosbag2 import Reader, ReaderError, storage_mcap
from rosbags.rosbag2.reader import DirectoryReader

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MOST_UNPACKED = 2**30
"""Bytes of a message or chunk: 350 megapixels in colour. Recorders write chunks of megabytes."""


def unpack_zstd(data: bytes, most: int = MOST_UNPACKED) -> bytes:
    """Return the content of zstd frames.

    Raises:
        ReaderError: these are no such frames, cut short, or larger than `most` bytes.
    """
    return _unpacked(zstd.ZstdDecompressor, data, most)


def unpack_bz2(data: bytes, most: int = MOST_UNPACKED) -> bytes:
    """Return the content of bz2 streams; raises as `unpack_zstd`."""
    return _unpacked(bz2.BZ2Decompressor, data, most)


def unpack_lz4(data: bytes, most: int = MOST_UNPACKED) -> bytes:
    """Return the content of lz4 frames; raises as `unpack_zstd`."""
    return _unpacked(LZ4FrameDecompressor, data, most)


def _unpacked(decompressor: Callable[[], Any], data: bytes, most: int) -> bytes:
    parts: list[bytes] = []
    left = most
    while data:
        frame = decompressor()
        try:
            # One more than is allowed tells what is too large from what just fits.
            parts.append(frame.decompress(data, max_length=left + 1))
        except (zstd.ZstdError, OSError, RuntimeError, ValueError, MemoryError) as error:
            raise ReaderError(f"its compressed data is damaged: {error}") from None
        left -= len(parts[-1])
        if left < 0:
            raise ReaderError(f"compressed data unpacks to more than {most} bytes")
        if not frame.eof:
            raise ReaderError("compressed data is cut short")
        data = frame.unused_data or b""
    return b"".join(parts)


# The library looks decompressors up in these tables and has no option for a limit. Those of mcap
# get the size that the chunk's header states.
storage_mcap.DECOMPRESSORS["zstd"] = lambda data, size: unpack_zstd(data, min(size, MOST_UNPACKED))
storage_mcap.DECOMPRESSORS["lz4"] = lambda data, size: unpack_lz4(data, min(size, MOST_UNPACKED))
rosbag1.decompressors["bz2"] = unpack_bz2
rosbag1.decompressors["lz4"] = unpack_lz4


class PackedDirectoryReader(DirectoryReader):
    """Reads a bag's folder; messages that were compressed one by one stay as they lie there.

    Attributes:
        packed: there are such messages, compressed by zstd.
    """

    packed = False

    def open(self) -> None:
        """Open the folder."""
        super().open()
        if self.metadata.compression_mode == "message":
            self.packed = True
            self.metadata = self.metadata._replace(compression_mode=None)


class PackedReader(Reader):
    """Reads a bag's folder or one file of it, without unpacking messages."""

    def __init__(self, path: Path) -> None:
        """Take the folder or the file."""
        self.STORAGE_PLUGINS = {**Reader.STORAGE_PLUGINS, "dir": PackedDirectoryReader}
        super().__init__(path)

    @property
    def packed(self) -> bool:
        """Whether every message has to be unpacked by `unpack_zstd`."""
        return isinstance(self.storage, PackedDirectoryReader) and self.storage.packed
