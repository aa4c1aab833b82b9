"""A folder of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from deviloc_ros.errors import InputError
from deviloc_ros.images import SUFFIXES


def list_images(folder: Path) -> Sequence[str]:
    """Return the names of all images below a folder, sorted.

    A name is the path below the folder with forward slashes, as in COLMAP. Hidden files and
    folders are left out; links are followed, but no folder is visited twice.

    Raises:
        InputError: there is no such folder, it cannot be read, or it holds no image.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder of the images")
    names: list[str] = []
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
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                names.append(path.relative_to(folder).as_posix())
    if not names:
        raise InputError(f"{folder}: holds no image ({', '.join(sorted(SUFFIXES))})")
    return sorted(names)


def _new(folder: Path, visited: set[Path]) -> bool:
    if folder in visited:
        return False
    visited.add(folder)
    return True
