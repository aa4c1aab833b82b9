"""Files of a raw sequence: which belong to which camera, and comma-separated tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.errors import InputError

NANOSECONDS_PER_MICROSECOND = 1000
MAX_MICROSECONDS = 9_000_000_000_000_000


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield ("file:number", fields) of every row: the fields of the named columns, in that order.

    Raises:
        InputError: the file cannot be read, its header lacks a column, or a row has another
            number of fields than the header.
    """
    lines = read_lines(path)
    first = next(lines, None)
    if first is None:
        raise InputError(f"{path}: is empty; expected a header with {','.join(columns)}")
    header = [name.strip() for name in first[1].split(",")]
    missing = [name for name in columns if name not in header]
    if missing:
        raise InputError(f"{first[0]}: the header lacks {', '.join(missing)}; it is {first[1]!r}")
    chosen = [header.index(name) for name in columns]
    for place, text in lines:
        fields = [field.strip() for field in text.split(",")]
        if len(fields) != len(header):
            raise InputError(
                f"{place}: {len(fields)} fields, the header names {len(header)}; is it cut short?"
            )
        yield place, [fields[index] for index in chosen]


def nanoseconds(place: str, text: str) -> int:
    """Read a time stamp of microseconds since 1970, as RobotCar's are.

    Raises:
        InputError: it is none.
    """
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < MAX_MICROSECONDS:
        raise InputError(f"{place}: {text!r} is not a time stamp in microseconds since 1970")
    return int(text) * NANOSECONDS_PER_MICROSECOND


@dataclass(frozen=True)
class Sensor:
    """Where the data set keeps what belongs to one camera.

    Attributes:
        folder: of its images, below the sequence.
        timestamps: the list of its time stamps.
        model: name of its camera model.
        extrinsics: name of its extrinsics file.
        bayer: ROS' name of its colour mosaic.
    """

    folder: str
    timestamps: str
    model: str
    extrinsics: str
    bayer: str


def _mono(side: str) -> Sensor:
    name = f"mono_{side}"
    return Sensor(name, f"{name}.timestamps", name, name, "bayer_rggb8")


def _stereo(lens: str, model: str) -> Sensor:
    name = f"stereo/{lens}"
    return Sensor(name, "stereo.timestamps", f"stereo_{model}", "stereo", "bayer_gbrg8")


SENSORS: Mapping[str, Sensor] = {
    "left": _mono("left"),
    "rear": _mono("rear"),
    "right": _mono("right"),
    "stereo_left": _stereo("left", "wide_left"),
    "stereo_centre": _stereo("centre", "narrow_left"),
    "stereo_right": _stereo("right", "wide_right"),
}


@dataclass(frozen=True)
class CalibrationFolders:
    """Folders that come apart from a sequence, with the data set's tools.

    Attributes:
        models: camera models and their tables.
        extrinsics: where sensors sit.
    """

    models: Path
    extrinsics: Path


def find_calibration(
    folder: Path, models: Path | None = None, extrinsics: Path | None = None
) -> CalibrationFolders:
    """Return the folders of models and extrinsics: those given, or those near the sequence.

    Looked for are `models` or `camera-models`, and `extrinsics`, in the sequence and beside it.

    Raises:
        InputError: one is not there.
    """
    places = [folder, folder.absolute().parent]
    return CalibrationFolders(
        models or _first(places, ("models", "camera-models"), "camera models", "--models"),
        extrinsics or _first(places, ("extrinsics",), "extrinsics", "--extrinsics"),
    )


def _first(places: Sequence[Path], names: Sequence[str], what: str, option: str) -> Path:
    for place in places:
        for name in names:
            if (place / name).is_dir():
                return place / name
    raise InputError(
        f"{places[0]}: there are no {what} in it or beside it ({' or '.join(names)}); they come "
        f"with the data set's SDK: give their folder by {option}"
    )
