"""Which images are queries, and which camera took each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import MODEL_NAMES, Camera

_MODEL = re.compile(rf"(?:(?<=\s)|^)(?:{'|'.join(MODEL_NAMES)})\s+\d")
LINE = "name MODEL width height param ..."


@dataclass(frozen=True)
class QueryCameras:
    """Cameras of query images.

    Attributes:
        source: what gave them, for messages.
        shared: the one camera of all images, or None.
        by_name: camera per image name, where they are given one by one.
    """

    source: str
    shared: Camera | None
    by_name: Mapping[str, Camera]

    def pair(self, names: Sequence[str]) -> QueryPairing:
        """Say which of the images of a folder are queries.

        Raises:
            InputError: cameras are given by name, and none of the names is among `names`.
        """
        if self.shared is not None:
            return QueryPairing(dict.fromkeys(names, self.shared), (), ())
        there = set(names)
        queries = {name: camera for name, camera in self.by_name.items() if name in there}
        if not queries:
            raise InputError(
                f"{self.source}: names none of the images, which are named like {names[0]!r}; "
                f"it names {next(iter(self.by_name))!r} and so on"
            )
        return QueryPairing(
            dict(sorted(queries.items())),
            tuple(name for name in names if name not in self.by_name),
            tuple(sorted(set(self.by_name) - there)),
        )


@dataclass(frozen=True)
class QueryPairing:
    """Images with their cameras.

    Attributes:
        cameras: camera of every query image, in the order to go through them.
        without_camera: images of the folder that have no camera, so are no queries.
        without_image: names that have a camera, but no image in the folder.
    """

    cameras: Mapping[str, Camera]
    without_camera: Sequence[str]
    without_image: Sequence[str]


def one_camera(text: str) -> QueryCameras:
    """Use the camera "MODEL width height param ..." for every image.

    Raises:
        InputError: the text is no camera.
    """
    return QueryCameras("--camera", Camera.parse(text), {})


def cameras_of_model(folder: Path) -> QueryCameras:
    """Use the camera that a COLMAP model has for each of its images.

    Raises:
        InputError: the model cannot be read.
    """
    images = posed_images(folder)
    return QueryCameras(str(folder), None, {image.name: image.camera for image in images})


def read_cameras(path: Path) -> QueryCameras:
    """Read a camera file.

    It is either COLMAP's cameras.txt with one camera ("CAMERA_ID MODEL width height param ...",
    the id may be left out), which then is that of every image, or a query list as on
    visuallocalization.net with "name MODEL width height param ..." for each.

    Raises:
        InputError: the file cannot be read, mixes both, or a line of it is wrong.
    """
    by_id: dict[str, Camera] = {}
    by_name: dict[str, Camera] = {}
    for place, text in read_lines(path):
        key, camera_text = _split(text)
        try:
            camera = Camera.parse(camera_text)
        except InputError as error:
            raise InputError(f"{place}: expected '{LINE}': {error}") from None
        target = by_id if not key or key.isdigit() else by_name
        if key in target:
            raise InputError(f"{place}: there is a camera of {key or 'all images'} already")
        target[key] = camera
    if by_id and by_name:
        raise InputError(f"{path}: mixes lines with a camera id and lines with an image name")
    if not by_id and not by_name:
        raise InputError(f"{path}: holds no camera; expected lines '{LINE}'")
    if by_name:
        return QueryCameras(str(path), None, by_name)
    distinct = set(by_id.values())
    if len(distinct) > 1:
        raise InputError(
            f"{path}: holds {len(distinct)} cameras and does not say which image is whose; give "
            f"--model COLMAP_DIR, or lines '{LINE}'"
        )
    return QueryCameras(str(path), distinct.pop(), {})


def _split(text: str) -> tuple[str, str]:
    """Split a line before its camera model: names may hold spaces, and may be absent."""
    if start := _MODEL.search(text):
        return text[: start.start()].strip(), text[start.start() :]
    name, *rest = text.split(maxsplit=1)
    return name, " ".join(rest)
