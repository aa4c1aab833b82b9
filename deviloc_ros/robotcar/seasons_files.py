"""RobotCar Seasons as it is downloaded: images by condition, calibration, 49 submaps, queries.

Folder layout (its README; docs/robotcar.md says which of it met no real file):

    images/<condition>/<left|rear|right>/<microseconds>.jpg
    intrinsics/<camera>_intrinsics.txt     lines "fx 400.0", "fy", "cx", "cy"
    extrinsics/<camera>_extrinsics.txt     4x4 car_from_camera, comma-separated
    3D-models/individual/colmap_reconstructions/001_aligned/   COLMAP models, names end in .png
    3D-models/individual/queries_per_location/queries_location_001.txt
    robotcar_v2_train.txt                  image and 4x4 world_from_camera
    robotcar_v2_test.txt                   images
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from deviloc_ros.datasets.lines import numbers, read_lines, split_name
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import image_size
from deviloc_ros.robotcar.calibration import BASE_FROM_CAR, rigid
from deviloc_ros.robotcar.sensors import nanoseconds

CAMERAS = ("left", "rear", "right")
REFERENCE_CONDITION = "overcast-reference"
MODELS = Path("3D-models") / "individual" / "colmap_reconstructions"
QUERIES = Path("3D-models") / "individual" / "queries_per_location"
TRAIN, TEST = "robotcar_v2_train.txt", "robotcar_v2_test.txt"
INTRINSICS = ("fx", "fy", "cx", "cy")


@dataclass(frozen=True)
class SeasonsImage:
    """One image.

    Attributes:
        name: its path below `images`.
        camera: left, rear or right.
        stamp: nanoseconds.
    """

    name: str
    camera: str
    stamp: int


@dataclass(frozen=True)
class Submap:
    """The COLMAP model of one of the places.

    Attributes:
        number: from 1.
        folder: of the model.
    """

    number: int
    folder: Path

    @property
    def name(self) -> str:
        """The number as the data set writes it."""
        return f"{self.number:03d}"


class Seasons:
    """A folder of RobotCar Seasons."""

    def __init__(self, folder: Path) -> None:
        """Open it; files are read when they are asked for.

        Raises:
            InputError: it is no such folder.
        """
        for name in ("images", "intrinsics", "extrinsics"):
            if not (folder / name).is_dir():
                raise InputError(f"{folder}: is not RobotCar Seasons: there is no folder {name}")
        self.folder = folder
        self.images_folder = folder / "images"

    @property
    def conditions(self) -> Sequence[str]:
        """Names of the folders of images."""
        return sorted(path.name for path in self.images_folder.iterdir() if path.is_dir())

    def images(self, condition: str, cameras: Sequence[str] = CAMERAS) -> Sequence[SeasonsImage]:
        """Return the images of a condition in the order of their time stamps.

        Raises:
            InputError: there is no such condition, a file name is no time stamp, or none is there.
        """
        found = []
        for camera in cameras:
            folder = self.images_folder / condition / camera
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: no such folder; conditions there are: {', '.join(self.conditions)}"
                )
            for path in folder.glob("*.jpg"):
                stamp = nanoseconds(str(path), path.stem)
                found.append(SeasonsImage(f"{condition}/{camera}/{path.name}", camera, stamp))
        if not found:
            raise InputError(f"{self.images_folder / condition}: holds no .jpg image")
        return sorted(found, key=lambda image: (image.stamp, image.camera))

    def camera(self, name: str) -> Camera:
        """Return the intrinsics of a camera; the images are undistorted, so it is a pinhole.

        The numbers are taken in COLMAP's pixel convention, as those of the reference models are.

        Raises:
            InputError: they cannot be read, or there is no image that tells the size.
        """
        path = self.folder / "intrinsics" / f"{name}_intrinsics.txt"
        values: dict[str, float] = {}
        for place, text in read_lines(path):
            key, (value,) = split_name(place, text, 1, "fx 400.0")
            values[key] = value
        missing = [key for key in INTRINSICS if key not in values]
        if missing:
            raise InputError(f"{path}: lacks {', '.join(missing)}; expected lines like 'fx 400.0'")
        try:
            return Camera("PINHOLE", *self._size(name), tuple(values[key] for key in INTRINSICS))
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def base_from_optical(self, name: str) -> Transform:
        """Return where a camera sits on the car.

        Raises:
            InputError: its extrinsics cannot be read.
        """
        path = self.folder / "extrinsics" / f"{name}_extrinsics.txt"
        expected = "4 comma-separated numbers"
        rows = [
            numbers(place, [field.strip() for field in text.split(",")], expected)
            for place, text in read_lines(path)
        ]
        if [len(row) for row in rows] != [4, 4, 4, 4]:
            raise InputError(f"{path}: expected 4 lines of {expected}: car_from_camera")
        return BASE_FROM_CAR @ rigid(str(path), np.array(rows))

    @cached_property
    def submaps(self) -> Sequence[Submap]:
        """The reference models, by number.

        Raises:
            InputError: there is none.
        """
        folder = self.folder / MODELS
        found = []
        for path in folder.glob("*_aligned") if folder.is_dir() else ():
            if path.is_dir() and re.fullmatch(r"\d+_aligned", path.name):
                found.append(Submap(int(path.name.partition("_")[0]), path))
        if not found:
            raise InputError(
                f"{folder}: holds no folder like 001_aligned with a COLMAP model; unpack "
                "the archives of 3D-models/individual"
            )
        return sorted(found, key=lambda submap: submap.number)

    def queries(self, submap: int) -> Sequence[str]:
        """Return the names of the query images of a place.

        Raises:
            InputError: the list cannot be read.
        """
        path = self.folder / QUERIES / f"queries_location_{submap:03d}.txt"
        return [text for _, text in read_lines(path)]

    def training_poses(self) -> Mapping[str, Transform]:
        """Return world_from_camera of the images that have a public pose, by name (version 2).

        Raises:
            InputError: the list cannot be read, or a line of it is wrong.
        """
        path = self.folder / TRAIN
        poses: dict[str, Transform] = {}
        for place, text in read_lines(path):
            name, values = split_name(place, text, 16, "image and 16 numbers, a 4x4 matrix")
            poses[as_stored(name)] = rigid(f"{place}: the pose", np.reshape(values, (4, 4)))
        return poses

    def true_poses(self, condition: str) -> Mapping[int, Transform]:
        """Return world_from_base of a condition's images that have a public pose, by stamp.

        Raises:
            InputError: the list or the extrinsics cannot be read.
        """
        poses = {}
        for name, world_from_camera in self.training_poses().items():
            of, _, rest = name.partition("/")
            camera, _, file = rest.partition("/")
            if of == condition and camera in CAMERAS:
                stamp = nanoseconds(f"{self.folder / TRAIN}: {name}", Path(file).stem)
                poses[stamp] = world_from_camera @ self.base_from_optical(camera).inverse()
        return poses

    def test_images(self) -> Sequence[str]:
        """Return the names of the images whose poses are kept back (version 2).

        Raises:
            InputError: the list cannot be read.
        """
        return [as_stored(text) for _, text in read_lines(self.folder / TEST)]

    def _size(self, camera: str) -> tuple[int, int]:
        """Return width and height of the first image of a camera that there is."""
        for path in self._files(camera):
            return image_size(path)
        raise InputError(f"{self.images_folder}: holds no image of camera {camera}")

    def _files(self, camera: str) -> Iterator[Path]:
        for condition in self.conditions:
            yield from (self.images_folder / condition / camera).glob("*.jpg")


def as_stored(name: str) -> str:
    """Return the name of an image file: models and lists say .png, the files are .jpg."""
    return name.removesuffix(".png") + ".jpg" if name.endswith(".png") else name
