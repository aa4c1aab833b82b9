"""NVM, VisualSFM's model file, as visuallocalization.net distributes reference models in it.

http://ccwu.me/vsfm/doc.html#nvm describes the format: the number of cameras, a line for each
("name focal qw qx qy qz cx cy cz radial 0": rotation camera_from_map, position of the camera), the
number of points, a line for each ("x y z r g b n" and n times "image feature x y"). The data sets'
own notes say that their pixels count from the upper left corner, which is COLMAP's convention, and
that their intrinsics are to be ignored: these come from a list beside the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.datasets.lines import numbers, read_lines
from deviloc_ros.datasets.sparse_model import ObservingImage, SparseModel
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

CAMERA_LINE = "name focal qw qx qy qz cx cy cz radial 0"
POINT_LINE = "x y z r g b n image feature x y ..."


def read_nvm(path: Path, cameras: Mapping[str, Camera]) -> SparseModel:
    """Read the first model of a file.

    Args:
        path: the file.
        cameras: intrinsics of every image, by name.

    Raises:
        InputError: the file cannot be read, a line of it is wrong, or an image has no camera.
    """
    lines = read_lines(path)
    place, text = next(lines, (str(path), ""))
    if not text.startswith("NVM_V3"):
        raise InputError(f"{place}: is no NVM file; the first line must be NVM_V3")
    place, text = next(lines, (str(path), ""))
    posed = []
    for _ in range(_count(place, text, "cameras")):
        place, text = next(lines, (str(path), ""))
        posed.append(_camera(place, text, cameras))
    place, text = next(lines, (str(path), "0"))
    points = {}
    pixels: list[list[float]] = [[] for _ in posed]
    seen: list[list[int]] = [[] for _ in posed]
    for key in range(1, _count(place, text, "points") + 1):
        place, text = next(lines, (str(path), ""))
        fields = numbers(place, text.split(), POINT_LINE)
        if len(fields) < 7 or len(fields) != 7 + 4 * fields[6]:
            raise InputError(f"{place}: expected '{POINT_LINE}'; the file may be cut off")
        points[key] = np.array(fields[:3])
        for start in range(7, len(fields), 4):
            index = int(fields[start])
            if not 0 <= index < len(posed):
                raise InputError(f"{place}: there is no image {index}, the file has {len(posed)}")
            pixels[index] += fields[start + 2 : start + 4]
            seen[index].append(key)
    images = [
        ObservingImage(
            image, np.array(own, np.float64).reshape(-1, 2), np.array(keys, dtype=np.int64)
        )
        for image, own, keys in zip(posed, pixels, seen, strict=True)
    ]
    return SparseModel(images, points)


def _camera(place: str, text: str, cameras: Mapping[str, Camera]) -> PosedImage:
    fields = text.rsplit(maxsplit=10)
    if len(fields) != 11:
        raise InputError(f"{place}: expected '{CAMERA_LINE}'; the file may be cut off")
    name = fields[0].removeprefix("./")
    _, *pose = numbers(place, fields[1:9], CAMERA_LINE)
    quaternion, centre = pose[:4], np.array(pose[4:])
    if name not in cameras:
        raise InputError(f"{place}: there are no intrinsics of {name}")
    try:
        placed = Transform.from_quaternion(quaternion, centre)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None
    moved = -placed.rotation.apply(centre)
    return PosedImage(name, cameras[name], Transform(placed.rotation, moved))


def _count(place: str, text: str, what: str) -> int:
    if not text.isdigit():
        raise InputError(f"{place}: expected the number of {what}, got {text[:40]!r}")
    return int(text)
