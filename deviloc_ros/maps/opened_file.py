"""A map's file while the map is in use: it must not change, and must not end the process.

Whoever touches a mapped page of a file that was cut short gets SIGBUS, which no check before can
rule out. So files up to a limit are read into memory; larger ones are mapped. Of both it is
noticed when somebody writes over them (`cp`, `scp`, `rsync --inplace`).
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import threading
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import DamagedMapError, InputError

MOST_RESIDENT = 4 * 2**30
"""Larger files are mapped, on whatever computer; bytes."""
RESIDENT_SHARE = 4
"""And those larger than this part of the computer's memory."""
CHUNK = 2**24
"""Bytes read at a time when a changed file is compared with what was read."""


def resident_limit(files: int = 1) -> int:
    """Return up to how many bytes a file is read into memory, of so many that may be open."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(MOST_RESIDENT, memory // RESIDENT_SHARE) // files


class OpenedFile:
    """Reads pieces of a file, and tells later whether they are still what is in it.

    It follows the file that was opened, not its name: a map that was replaced by renaming another
    file to its name stays in use as it was.
    """

    def __init__(self, path: Path, resident: int | None = None) -> None:
        """Open the file.

        Args:
            path: the file.
            resident: up to this size it is read, else mapped; bytes. None: it is never mapped.

        Raises:
            InputError: it cannot be opened.
        """
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)
            self.size = os.fstat(self._descriptor).st_size
            if stat.S_ISDIR(os.fstat(self._descriptor).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        self._mapped = None
        if resident is not None and self.size > resident:
            self._mapped = mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ)
        self._lock = threading.Lock()
        self._pieces: list[tuple[int, int, int]] = []
        self._judged = self._signature()
        self._sound = True

    def read(self, begin: int, count: int) -> bytes:
        """Return bytes, fewer where the file ends."""
        found = os.pread(self._descriptor, count, begin)
        self._pieces.append((begin, len(found), zlib.crc32(found)))
        return found

    def array(self, dtype: np.dtype[Any], shape: tuple[int, ...], begin: int) -> NDArray[Any]:
        """Return an array that is not to be written to.

        Raises:
            InputError: the file ends before the array does, though it did not when it was opened.
        """
        if self._mapped is not None:
            count = int(np.prod(shape, dtype=np.int64))
            return np.frombuffer(self._mapped, dtype, count, begin).reshape(shape)
        array = np.empty(shape, dtype)
        target = array.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(target):
            count = os.preadv(self._descriptor, [target[done : done + CHUNK]], begin + done)
            if count == 0:
                raise InputError(f"{self.path}: was cut short while it was read; load it again")
            done += count
        array.setflags(write=False)
        return array

    def remember(self, begin: int, count: int, checksum: int) -> None:
        """Take a piece of the file, with its CRC-32, for what must not change."""
        self._pieces.append((begin, count, checksum))

    def check(self) -> None:
        """Refuse to go on where the file was written over; a system call where it was not.

        Raises:
            DamagedMapError: its content is another one than was read.
        """
        with self._lock:
            now = self._signature()
            if now != self._judged:
                self._sound = now[0] == self.size and self._holds_the_same()
                self._judged = now
            if not self._sound:
                raise DamagedMapError(
                    f"{self.path}: was written over while it was in use; load it again "
                    "(~/reload_map), and replace maps by renaming: mv new.devmap "
                    f"{self.path.name}"
                )

    def _signature(self) -> tuple[int, int]:
        """Return what changes when somebody writes: size, and when that was."""
        found = os.fstat(self._descriptor)
        return found.st_size, found.st_mtime_ns

    def _holds_the_same(self) -> bool:
        """Compare what is there now; `touch`, or the same file copied over it, changes nothing."""
        for begin, count, expected in self._pieces:
            checksum = done = 0
            while done < count:
                found = os.pread(self._descriptor, min(CHUNK, count - done), begin + done)
                if not found:
                    return False
                checksum = zlib.crc32(found, checksum)
                done += len(found)
            if checksum != expected:
                return False
        return True
