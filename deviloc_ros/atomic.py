"""Files that are either whole or not there; links, pipes and devices keep what they are."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deviloc_ros.errors import InputError

SECONDS_FOR_A_READER = 30.0
MAX_LINKS = 40
_FULL = (errno.ENOSPC, errno.EDQUOT)
# What C++ and Rust code says, and SQLite, whose exceptions carry no errno.
_FULL_TEXTS = ("No space left on device", "os error 28)", "database or disk is full")


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `target` when the block ends well.

    A link is followed: the file that it names is replaced by a rename, and keeps its permissions.
    What is no regular file (a pipe, a terminal, /dev/null, /dev/stdout) is written to and stays
    what it is. On any exception (Ctrl-C too) the temporary file is removed and `target` keeps its
    old content.

    Raises:
        InputError: `target` cannot be written: its folder does not exist or is not writable, it is
            a folder, a disk or a socket, its disk is full, or nobody reads the pipe.
    """
    target = Path(target)
    place = check_writable(target)
    folder = Path(tempfile.gettempdir()) if place is None else place.parent
    suffix = target.suffix if place is None else place.suffix
    try:
        handle, name = tempfile.mkstemp(
            dir=folder, prefix=f".{target.name if place is None else place.name}.", suffix=suffix
        )
    except OSError as error:
        if is_disk_full(error):
            raise InputError(disk_full_line(folder)) from error
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); give a path in a writable folder"
        ) from error
    os.close(handle)
    temporary = Path(name)
    where = folder
    try:
        yield temporary
        if place is None:
            where = target
            _pour(temporary, target)
        else:
            temporary.chmod(_mode(place))
            _rename(temporary, place)
    except Exception as error:
        if not isinstance(error, InputError) and is_disk_full(error):
            raise InputError(disk_full_line(where, target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(target: Path) -> Path | None:
    """Return the regular file that writing to `target` replaces or makes; None: it is a stream.

    Raises:
        InputError: nothing can be written there.
    """
    place = target
    for _ in range(MAX_LINKS):
        if _descriptor(place) is not None:
            return None  # an open file of a process: its content is its owner's
        if not place.is_symlink():
            break
        place = place.parent / place.readlink()
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror})") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{target}: is a folder; give the name of a file")
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        what = "a disk" if stat.S_ISBLK(mode) else "a socket"
        raise InputError(f"{target}: is {what}; give the name of a file")
    if not stat.S_ISREG(mode):
        if not os.access(target, os.W_OK):
            raise InputError(f"{target}: is not writable")
        return None
    if not place.parent.is_dir():
        raise InputError(f"{target}: there is no folder {place.parent}; make it first")
    if not os.access(place.parent, os.W_OK):
        raise InputError(f"{target}: the folder {place.parent} is not writable")
    return place


def is_standard_output(path: Path | None) -> bool:
    """Return whether what is written to a path goes where the program prints."""
    if path is None:
        return False
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception, or one that led to it, is that of a full disk or quota."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return True
        if any(text in str(seen) for text in _FULL_TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def disk_full_line(folder: Path, target: Path | None = None) -> str:
    """Return the one line about a full disk: which, and how much is left."""
    what = f"{target}: " if target is not None else ""
    left = ""
    with contextlib.suppress(OSError):
        left = f", {shutil.disk_usage(folder).free / 1e6:.1f} MB are left"
    return (
        f"{what}No space left on the disk (or in the quota) of {folder}{left}; free some, or "
        "write elsewhere"
    )


def _pour(source: Path, target: Path) -> None:
    """Write a file's content into a pipe or device, without replacing it."""
    descriptor = _open_stream(target)
    with source.open("rb") as content, os.fdopen(descriptor, "wb") as stream:
        shutil.copyfileobj(content, stream)


def _open_stream(target: Path) -> int:
    own = _own_descriptor(target)
    if own is not None:
        sys.stdout.flush()
        # Shares the position in the file: what is printed later comes behind, not over it.
        return os.dup(own)
    if not stat.S_ISFIFO(target.stat().st_mode):
        return os.open(target, os.O_WRONLY | os.O_APPEND)
    until = time.monotonic() + SECONDS_FOR_A_READER
    while True:
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > until:
                raise InputError(
                    f"{target}: nobody reads this pipe (waited {SECONDS_FOR_A_READER:g} s); start "
                    "its reader first"
                ) from None
            time.sleep(0.05)
        else:
            os.set_blocking(descriptor, True)
            return descriptor


def _own_descriptor(path: Path) -> int | None:
    """Return the number of the open file of this process that a path such as /dev/stdout names."""
    for _ in range(MAX_LINKS):
        found = _descriptor(path)
        if found is not None:
            process, number = found
            return number if process == os.getpid() else None
        if not path.is_symlink():
            return None
        path = path.parent / path.readlink()
    return None


def _descriptor(path: Path) -> tuple[int, int] | None:
    """Return the process and the number of the open file that /proc/PID/fd/NUMBER names."""
    found = re.fullmatch(r"/proc/(\d+)/(?:task/\d+/)?fd/(\d+)", _resolved_in_folder(path))
    return (int(found[1]), int(found[2])) if found else None


def _resolved_in_folder(path: Path) -> str:
    """Return the path with the links of its folder followed, but not a link that it is itself."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _rename(temporary: Path, place: Path) -> None:
    try:
        os.replace(temporary, place)
    except OSError as error:
        raise InputError(f"{place}: cannot be replaced ({error.strerror})") from error


def _mode(place: Path) -> int:
    """Return the permissions of the new file: the old one's, else those the umask leaves."""
    try:
        return stat.S_IMODE(place.stat().st_mode)
    except FileNotFoundError:
        return 0o666 & ~_umask()


def _umask() -> int:
    """Return the process' umask: mkstemp makes private files, results are for everybody."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
