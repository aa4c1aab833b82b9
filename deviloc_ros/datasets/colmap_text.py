"""Check the text files of a COLMAP model before COLMAP's own reader sees them.

That reader loses every other image in silence where images.txt lacks its second lines, cuts names
at their first space, and does not say which line is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pycolmap

from deviloc_ros.datasets.colmap_limits import (
    MAX_COORDINATE,
    MAX_IMAGE_SIDE,
    NUM_PARAMS,
    check_rigs_and_frames,
    is_unit_quaternion,
    readable,
)
from deviloc_ros.errors import InputError

POSE_FIELDS = ("qw", "qx", "qy", "qz", "tx", "ty", "tz")


def check_text(folder: Path) -> None:
    """Check cameras.txt and images.txt, and that rigs.txt and frames.txt come together.

    points3D.txt, rigs.txt and frames.txt are left to COLMAP, whose text reader checks them.

    Raises:
        InputError: a file is missing or a line of it is wrong, with its number.
    """
    for number, fields in _lines(folder / "cameras.txt"):
        if fields and not fields[0].startswith("#"):
            _camera_line(f"{folder / 'cameras.txt'}:{number}", fields)
    path = folder / "images.txt"
    image = ""
    for number, fields in _lines(path):
        if image:
            # The second line of an image: x, y and point id of every observation, or nothing.
            if len(fields) % 3 or (len(fields) >= 10 and not _is_number(fields[9])):
                raise InputError(
                    f"{path}:{number}: expected the 2D points of {image} (three numbers each) or "
                    "an empty line; every image takes two lines"
                )
            image = ""
        elif fields and not fields[0].startswith("#"):
            image = _image_line(f"{path}:{number}", fields)
    check_rigs_and_frames(folder, "txt")


def _camera_line(place: str, fields: list[str]) -> None:
    known = pycolmap.CameraModelId.__members__
    if len(fields) < 5 or not (fields[0] + fields[2] + fields[3]).isdigit():
        raise InputError(f"{place}: expected 'CAMERA_ID MODEL WIDTH HEIGHT PARAMS...'")
    if fields[1] not in known:
        raise InputError(f"{place}: camera model {fields[1]!r} is unknown to COLMAP")
    expected = NUM_PARAMS[int(known[fields[1]])]
    if len(fields) - 4 != expected or not all(map(_is_number, fields[4:])):
        raise InputError(f"{place}: {fields[1]} takes {expected} finite parameters")
    if not all(0 < int(side) <= MAX_IMAGE_SIDE for side in fields[2:4]):
        raise InputError(f"{place}: image size {fields[2]} x {fields[3]} is not possible")


def _image_line(place: str, fields: list[str]) -> str:
    if len(fields) < 10 or not fields[0].isdigit() or not fields[8].isdigit():
        raise InputError(f"{place}: expected 'IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME'")
    if len(fields) > 10:
        raise InputError(
            f"{place}: the name {' '.join(fields[9:])!r} has a space, where COLMAP's text format "
            "ends a name; rename the image, or give the model as binary"
        )
    for name, text in zip(POSE_FIELDS, fields[1:8], strict=True):
        if not _is_number(text):
            raise InputError(f"{place}: {name} is {text!r}, expected a number")
    if not is_unit_quaternion([float(text) for text in fields[1:5]]):
        raise InputError(f"{place}: '{' '.join(fields[1:5])}' is not a unit quaternion")
    return fields[9]


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    with readable(path), path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.split()


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= MAX_COORDINATE
    except ValueError:
        return False
