"""Pose files: the benchmark format of visuallocalization.net, TUM trajectories, positions.

Quaternions need not be of unit length in a file that is read, but not zero; they are normalised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.lines import numbers, read_lines, split_name
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import FARTHEST, Transform

POSE_LINE = "name qw qx qy qz tx ty tz"
TUM_LINE = "timestamp tx ty tz qx qy qz qw"
POSITION_LINE = "name x y z"


def read_poses(path: Path) -> dict[str, Transform]:
    """Read "name qw qx qy qz tx ty tz" lines: the pose camera_from_map of every image.

    Raises:
        InputError: the file cannot be read, or a line of it is wrong.
    """
    poses: dict[str, Transform] = {}
    for place, text in read_lines(path):
        name, values = split_name(place, text, 7, POSE_LINE)
        if name in poses:
            raise InputError(f"{place}: {name} has a pose already; names must differ")
        poses[name] = _transform(place, values[:4], values[4:])
    return poses


def write_poses(path: Path, poses: Mapping[str, Transform]) -> Mapping[str, str]:
    """Write camera_from_map of every image as "name qw qx qy qz tx ty tz", in the given order.

    Returns:
        The names that the format cannot hold, which are left out, with the reason.

    Raises:
        InputError: the file cannot be written.
    """
    lines = []
    left_out: dict[str, str] = {}
    for name, pose in poses.items():
        if reason := why_not_in_a_pose_file(name):
            left_out[name] = reason
        else:
            lines.append(f"{name} {_text(pose.quaternion_wxyz)} {_text(pose.translation)}\n")
    _write(path, lines)
    return left_out


def why_not_in_a_pose_file(name: str) -> str:
    """Return why a line of a pose file cannot begin with this image name; empty: it can."""
    if not name or name != name.strip():
        return "its name begins or ends with a space"
    if name.startswith("#"):
        return "its name begins with #, as a comment does"
    if "\n" in name or "\r" in name:
        return "its name has a line break"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    return ""


def read_tum(path: Path) -> list[tuple[int, Transform]]:
    """Read "timestamp tx ty tz qx qy qz qw" lines: (nanoseconds, map_from_body), in file order.

    Raises:
        InputError: the file cannot be read, or a line of it is wrong.
    """
    trajectory = []
    for place, text in read_lines(path):
        stamp, *fields = text.split()
        if len(fields) != 7:
            raise InputError(f"{place}: expected '{TUM_LINE}', got {len(fields) + 1} fields")
        try:
            nanoseconds = int(Decimal(stamp) * NANOSECONDS)
        except (InvalidOperation, ValueError, OverflowError):
            raise InputError(f"{place}: {stamp!r} is not a time stamp in seconds") from None
        x, y, z, *xyzw = numbers(place, fields, TUM_LINE)
        wxyz = (xyzw[3], xyzw[0], xyzw[1], xyzw[2])
        trajectory.append((nanoseconds, _transform(place, wxyz, (x, y, z))))
    return trajectory


def write_tum(path: Path, trajectory: Iterable[tuple[int, Transform]]) -> None:
    """Write (nanoseconds, map_from_body) as "timestamp tx ty tz qx qy qz qw", seconds, metres.

    Raises:
        InputError: the file cannot be written.
    """
    lines = []
    for nanoseconds, pose in trajectory:
        seconds, rest = divmod(nanoseconds, NANOSECONDS)
        lines.append(
            f"{seconds}.{rest:09d} {_text(pose.translation)} {_text(pose.quaternion_xyzw)}\n"
        )
    _write(path, lines)


def read_positions(path: Path) -> dict[str, NDArray[np.float64]]:
    """Read "name x y z" lines: the camera centre (3,) of every image, metres.

    Raises:
        InputError: the file cannot be read, or a line of it is wrong.
    """
    positions: dict[str, NDArray[np.float64]] = {}
    for place, text in read_lines(path):
        name, values = split_name(place, text, 3, POSITION_LINE)
        if name in positions:
            raise InputError(f"{place}: {name} has a position already; names must differ")
        if max(map(abs, values)) > FARTHEST:
            raise InputError(f"{place}: the position {tuple(values)} is beyond {FARTHEST:g} m")
        positions[name] = np.array(values)
    return positions


def _transform(place: str, wxyz: Sequence[float], translation: Sequence[float]) -> Transform:
    try:
        return Transform.from_quaternion(wxyz, translation)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _text(values: ArrayLike) -> str:
    """Return numbers that read back as the same float64."""
    return " ".join(repr(float(value)) for value in np.asarray(values))


def _write(path: Path, lines: Iterable[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
