"""Work folders that only one process at a time may use."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from deviloc_ros.errors import InputError

LOCK, OWNER = "lock", "owner"


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Make a folder, if need be, and keep every other process out of it while the block runs.

    The lock ends with the process, however that ends. In the folder are two files meanwhile: LOCK,
    and OWNER, which says who holds it.

    Raises:
        InputError: another process, or another thread, uses the folder; or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{folder}: is in use by {_owner(folder)}; wait until it is done, or end it"
        ) from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    try:
        (folder / OWNER).write_text(
            f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8"
        )
        yield
    finally:
        # Before the release: who takes the lock next makes these anew.
        for name in (OWNER, LOCK):
            (folder / name).unlink(missing_ok=True)
        lock.release()


def _owner(folder: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        if text := (folder / OWNER).read_text(encoding="utf-8").strip():
            return text
    return "another process"
