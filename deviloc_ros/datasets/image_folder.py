"""A folder of images."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from deviloc_ros.errors import InputError
from deviloc_ros.images import SUFFIXES

UNREAD = frozenset(
    {".heic", ".heif", ".avif", ".jxl", ".gif", ".jpf", ".jpx", ".dng", ".cr2", ".cr3", ".nef",
     ".arw", ".orf", ".rw2", ".raf", ".insp", ".mp4", ".mov"}
)  # fmt: skip
"""Suffixes of images and videos that phones and cameras write, and that are not read here."""


def list_images(folder: Path) -> Sequence[str]:
    """Return the names of all images below a folder, sorted.

    A name is the path below the folder with forward slashes, as in COLMAP. Hidden files and
    folders are left out; links are followed, but no folder is visited twice.

    Raises:
        InputError: there is no such folder, it cannot be read, or it holds no image.
    """
    names = [name for name in _files(folder) if Path(name).suffix.lower() in SUFFIXES]
    if not names:
        unread = unread_images(folder)
        instead = f" (but {len(unread)} such as {unread[0]}: convert them)" if unread else ""
        raise InputError(
            f"{folder}: holds no image that can be read{instead}; formats: "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return sorted(names)


def unread_images(folder: Path) -> Sequence[str]:
    """Return the names of images below a folder in formats that cannot be read, sorted.

    Raises:
        InputError: there is no such folder, or it cannot be read.
    """
    return sorted(name for name in _files(folder) if Path(name).suffix.lower() in UNREAD)


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of all files below a folder that are not hidden."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of the images")
    visited: set[Path] = set()

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror})") from None

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and _new(Path(place, name).resolve(), visited)
        )
        for name in files:
            if not name.startswith("."):
                yield Path(place, name).relative_to(folder).as_posix()


def _new(folder: Path, visited: set[Path]) -> bool:
    if folder in visited:
        return False
    visited.add(folder)
    return True
