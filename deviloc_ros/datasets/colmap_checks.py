"""Check the binary files of a COLMAP model before COLMAP's own reader sees them.

That reader trusts its input: counts of a damaged file make it allocate without bound or loop for
minutes, and a truncated cameras.bin is read as garbage. The layouts are those of COLMAP's
documentation, "Output Format".
"""

from __future__ import annotations

import struct
from pathlib import Path

from deviloc_ros.datasets.colmap_limits import (
    MAX_COORDINATE,
    MAX_IMAGE_SIDE,
    MAX_RECORDS,
    NUM_PARAMS,
    check_rigs_and_frames,
    is_unit_quaternion,
    readable,
)
from deviloc_ros.errors import InputError


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
