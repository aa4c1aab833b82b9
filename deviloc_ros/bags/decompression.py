"""Unpacking the messages and chunks of rosbag2, up to a limit only.

A few bytes of zstd can claim any size: 4 bytes become 128 KiB. rosbags unpacks whatever there is.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor
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
    parts: list[bytes] = []
    left = most
    while data:
        frame = zstd.ZstdDecompressor()
        try:
            # One more than is allowed tells what is too large from what just fits.
            parts.append(frame.decompress(data, max_length=left + 1))
        except (zstd.ZstdError, MemoryError) as error:
            raise ReaderError(f"no readable zstd data: {error}") from None
        left -= len(parts[-1])
        if left < 0:
            raise ReaderError(f"compressed data unpacks to more than {most} bytes")
        if not frame.eof:
            raise ReaderError("compressed data is cut short")
        data = frame.unused_data
    return b"".join(parts)


def unpack_lz4(data: bytes, most: int = MOST_UNPACKED) -> bytes:
    """Return the content of an lz4 frame.

    Raises:
        ReaderError: it is no such frame, cut short, or larger than `most` bytes.
    """
    frame = LZ4FrameDecompressor()
    try:
        content: bytes = frame.decompress(data, max_length=most + 1)
    except (RuntimeError, MemoryError) as error:
        raise ReaderError(f"no readable lz4 data: {error}") from None
    if len(content) > most:
        raise ReaderError(f"compressed data unpacks to more than {most} bytes")
    if not frame.eof:
        raise ReaderError("compressed data is cut short")
    return content


# The library looks decompressors up in this table, with the size that the chunk's header states,
# and has no option for a limit.
storage_mcap.DECOMPRESSORS["zstd"] = lambda data, size: unpack_zstd(data, min(size, MOST_UNPACKED))
storage_mcap.DECOMPRESSORS["lz4"] = lambda data, size: unpack_lz4(data, min(size, MOST_UNPACKED))


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
