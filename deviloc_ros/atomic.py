"""Files that are either whole or not there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deviloc_ros.errors import InputError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `target` that is renamed to it when the block ends well.

    On any exception (Ctrl-C too) the temporary file is removed and `target` keeps its old content.

    Raises:
        InputError: the folder of `target` does not exist or cannot be written to.
    """
    target = Path(target)
    try:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
        )
    except OSError as error:
        raise InputError(
            f"{target}: cannot be written ({error.strerror}); give a path in a writable folder"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """Return the process' umask: mkstemp makes private files, results are for everybody."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
