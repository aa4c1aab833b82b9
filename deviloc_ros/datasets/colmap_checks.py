"""Check the files of a COLMAP model, binary or text, before COLMAP's own reader sees them.

That reader trusts its input. Counts of a damaged binary file make it allocate without bound or loop
for minutes; a truncated cameras.bin is read as garbage. It loses every other image in silence where
images.txt lacks its second lines, cuts names at their first space, and does not say which line is
wrong. The layouts are those of COLMAP's documentation, "Output Format".
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pycolmap

from deviloc_ros.errors import InputError

MAX_RECORDS = 200_000_000
MAX_IMAGE_SIDE = 1_000_000
MAX_COORDINATE = 1e15
MAX_ID = 2**32 - 1
"""Of cameras and images: COLMAP has 32 bits, and the last number means none."""
NUM_PARAMS = {
    int(member): len(pycolmap.Camera.create_from_model_name(0, name, 1.0, 1, 1).params)
    for name, member in pycolmap.CameraModelId.__members__.items()
    if name != "INVALID"
}


def is_unit_quaternion(quaternion: Sequence[float]) -> bool:
    """Return whether a quaternion has unit length, as far as rounded text goes."""
    return 0.98 < math.hypot(*quaternion) < 1.02


def check_rigs_and_frames(folder: Path, suffix: str) -> None:
    """Refuse a model with rigs but without frames, or the other way round.

    Raises:
        InputError: one of the two files is missing.
    """
    names = (f"rigs.{suffix}", f"frames.{suffix}")
    there = [name for name in names if (folder / name).exists()]
    if len(there) == 1:
        missing = names[1] if there[0] == names[0] else names[0]
        raise InputError(f"{folder / missing}: is missing, but {there[0]} is there")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors of reading a file into InputError."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: is missing from the COLMAP model") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not a text file (UTF-8)") from None


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
    if len(fields) < 5 or not all(_is_id(field) for field in (fields[0], fields[2], fields[3])):
        raise InputError(f"{place}: expected 'CAMERA_ID MODEL WIDTH HEIGHT PARAMS...'")
    if fields[1] not in known:
        raise InputError(f"{place}: camera model {fields[1]!r} is unknown to COLMAP")
    expected = NUM_PARAMS[int(known[fields[1]])]
    if len(fields) - 4 != expected or not all(map(_is_number, fields[4:])):
        raise InputError(f"{place}: {fields[1]} takes {expected} finite parameters")
    if not all(0 < int(side) <= MAX_IMAGE_SIDE for side in fields[2:4]):
        raise InputError(f"{place}: image size {fields[2]} x {fields[3]} is not possible")


def _image_line(place: str, fields: list[str]) -> str:
    if len(fields) < 10 or not _is_id(fields[0]) or not _is_id(fields[8]):
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
    with readable(path), path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            yield number, line.split()


def _is_id(text: str) -> bool:
    """Return whether COLMAP can take a text as an id, a count or a size in pixels."""
    return text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) < MAX_ID


def _is_number(text: str) -> bool:
    try:
        return abs(float(text)) <= MAX_COORDINATE
    except ValueError:
        return False


class _Cursor:
    """Walks a little-endian binary file and refuses to leave it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = _read(path)
        self.offset = 0

    def take(self, layout: str, what: str) -> tuple[float, ...]:
        """Return the next values in a struct layout."""
        layout = f"<{layout}"
        start = self.skip(struct.calcsize(layout), 1, what)
        return struct.unpack_from(layout, self.data, start)

    def count(self, layout: str, smallest: int, what: str) -> int:
        """Return a count of records of at least `smallest` bytes that must fit into the file."""
        (number,) = self.take(layout, f"the number of {what}")
        if number > MAX_RECORDS or number * smallest > len(self.data) - self.offset:
            raise InputError(
                f"{self.path}: names {int(number)} {what}, more than its {len(self.data)} bytes "
                "can hold; the file is damaged or cut off"
            )
        return int(number)

    def skip(self, size: int, number: int, what: str) -> int:
        """Pass over records; return where they start."""
        start = self.offset
        self.offset += size * number
        if self.offset > len(self.data):
            raise InputError(f"{self.path}: ends within {what}; the file is damaged or cut off")
        return start

    def text(self, what: str) -> str:
        """Return a zero-terminated string."""
        end = self.data.find(b"\0", self.offset)
        if end < 0:
            raise InputError(f"{self.path}: ends within {what}; the file is damaged or cut off")
        raw, self.offset = self.data[self.offset : end], end + 1
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InputError(f"{self.path}: {what} is not text; the file is damaged") from None

    def pose(self, what: str) -> None:
        """Pass over a pose and check it."""
        values = self.take("7d", what)
        if not is_unit_quaternion(values[:4]) or not all(
            abs(value) <= MAX_COORDINATE for value in values
        ):
            raise InputError(f"{self.path}: {what} has no valid pose; the file is damaged")

    def end(self) -> None:
        """Refuse a file with more behind its last record."""
        if rest := len(self.data) - self.offset:
            raise InputError(f"{self.path}: {rest} bytes after its last record; it is damaged")


def check_binary(folder: Path) -> None:
    """Check cameras.bin, images.bin, points3D.bin, and rigs.bin and frames.bin where they are.

    Raises:
        InputError: a file is missing, cut off or damaged.
    """
    _cameras(_Cursor(folder / "cameras.bin"))
    _images(_Cursor(folder / "images.bin"))
    if (folder / "points3D.bin").exists():
        _points(_Cursor(folder / "points3D.bin"))
    check_rigs_and_frames(folder, "bin")
    if (folder / "rigs.bin").exists():
        _rigs(_Cursor(folder / "rigs.bin"))
        _frames(_Cursor(folder / "frames.bin"))


def _cameras(file: _Cursor) -> None:
    for index in range(file.count("Q", 24, "cameras")):
        _, model, width, height = file.take("IiQQ", f"camera {index}")
        possible = 0 < width <= MAX_IMAGE_SIDE and 0 < height <= MAX_IMAGE_SIDE
        if model not in NUM_PARAMS or not possible:
            raise InputError(
                f"{file.path}: camera {index} has an unknown model ({model}) or an impossible "
                f"size ({width} x {height}); the file is damaged"
            )
        params = file.take(f"{NUM_PARAMS[int(model)]}d", f"camera {index}")
        if not all(abs(value) <= MAX_COORDINATE for value in params):
            raise InputError(f"{file.path}: camera {index} has parameters that are no numbers")
    file.end()


def _images(file: _Cursor) -> None:
    for index in range(file.count("Q", 73, "images")):
        what = f"image {index}"
        file.take("I", what)
        file.pose(what)
        file.take("I", what)
        file.text(f"the name of {what}")
        file.skip(24, file.count("Q", 24, f"2D points of {what}"), what)
    file.end()


def _points(file: _Cursor) -> None:
    for index in range(file.count("Q", 51, "3D points")):
        start = file.skip(43, 1, f"3D point {index}")
        xyz = struct.unpack_from("<3d", file.data, start + 8)
        if not all(abs(value) <= MAX_COORDINATE for value in xyz):
            raise InputError(f"{file.path}: 3D point {index} is nowhere; the file is damaged")
        file.skip(8, file.count("Q", 8, f"observations of point {index}"), f"3D point {index}")
    file.end()


def _rigs(file: _Cursor) -> None:
    for index in range(file.count("Q", 8, "rigs")):
        what = f"rig {index}"
        file.take("I", what)
        sensors = file.count("I", 8, f"sensors of {what}")
        for sensor in range(sensors):
            file.take("iI", what)
            # The first sensor is the rig's reference and has no pose of its own.
            if sensor and file.take("B", what)[0]:
                file.pose(what)
    file.end()


def _frames(file: _Cursor) -> None:
    for index in range(file.count("Q", 68, "frames")):
        what = f"frame {index}"
        file.take("II", what)
        file.pose(what)
        file.skip(16, file.count("I", 16, f"images of {what}"), what)
    file.end()


def _read(path: Path) -> bytes:
    with readable(path):
        return path.read_bytes()
