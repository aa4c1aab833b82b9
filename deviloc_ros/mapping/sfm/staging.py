"""The images of a build, in a folder and under names that COLMAP can take.

COLMAP's lists of images end a name at a space and take a line with # for a comment, its Python
interface takes UTF-8 only, and its reader lacks formats such as WebP. The folder holds links to the
images; those that COLMAP cannot read are PNG copies.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pycolmap
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.images import read_gray

MAX_NAME_BYTES = 255
_PLAIN = re.compile(r"[^\s%#\\]+")


class StagedImages:
    """Images under names that COLMAP can take; a name that it can take stays as it is."""

    def __init__(self, images: Path, folder: Path) -> None:
        """Begin with no image.

        Args:
            images: folder of the images.
            folder: where the links and copies go; made if absent, kept for a later run.
        """
        self.folder = folder
        self._images = images.resolve()
        self._names: dict[str, str] = {}

    def add(self, names: Sequence[str]) -> Mapping[str, str]:
        """Link or copy images; return why some cannot be used, by name."""
        wrong: dict[str, str] = {}
        for name in tqdm(names, desc="opening", unit="image", disable=None):
            try:
                self._add(name, self.name_of(name))
            except InputError as error:
                wrong[name] = str(error)
        return wrong

    @staticmethod
    def name_of(name: str) -> str:
        """Return the name under which COLMAP knows an image: path below the folder."""
        return "/".join(map(_safe, name.split("/")))

    def original(self, staged: str) -> str:
        """Return the user's name of an image by COLMAP's."""
        return self._names[staged]

    def _add(self, name: str, staged: str) -> None:
        source, target = self._images / name, self.folder / staged
        target.parent.mkdir(parents=True, exist_ok=True)
        copied = target.exists() and not target.is_symlink()
        if not copied or target.stat().st_mtime_ns < source.stat().st_mtime_ns:
            target.unlink(missing_ok=True)
            link(source, target)
            if pycolmap.Bitmap.read(target, False) is None:
                target.unlink()
                _convert(source, target)
        self._names[staged] = name


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where that cannot be."""
    try:
        target.symlink_to(source)
    except OSError:  # a file system without links, such as that of most USB sticks
        shutil.copyfile(source, target)


def _convert(source: Path, target: Path) -> None:
    """Write a gray PNG with the EXIF data, which tell COLMAP the focal length.

    The name stays, whatever its suffix: COLMAP looks at the content.
    """
    pixels = Image.fromarray(read_gray(source))
    metadata = Image.Exif()
    unreadable = (
        UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError
    )  # fmt: skip
    with suppress(*unreadable), Image.open(source) as opened:
        metadata = opened.getexif()
    with atomic_path(target) as temporary:
        pixels.save(temporary, format="PNG", exif=metadata)


def _safe(component: str) -> str:
    """Return a file or folder name that COLMAP can take; different ones stay different."""
    raw = os.fsencode(component)
    try:
        if _PLAIN.fullmatch(raw.decode("utf-8")) and component.isprintable():
            return component
    except UnicodeDecodeError:
        pass
    quoted = quote(raw, safe="")
    if len(quoted) > MAX_NAME_BYTES:
        # The suffix tells COLMAP how to read some formats.
        quoted = f"%{hashlib.sha256(raw).hexdigest()}{quote(Path(component).suffix[:16], safe='.')}"
    return quoted
