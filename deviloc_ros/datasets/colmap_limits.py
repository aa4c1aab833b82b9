"""What files of a COLMAP model can hold at all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pycolmap

from deviloc_ros.errors import InputError

MAX_RECORDS = 200_000_000
MAX_IMAGE_SIDE = 1_000_000
MAX_COORDINATE = 1e15
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
        raise InputError(f"{path}: is not a text file") from None
