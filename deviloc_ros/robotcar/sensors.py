"""Which files of a raw sequence belong to which camera, and where its calibration lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deviloc_ros.errors import InputError


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
