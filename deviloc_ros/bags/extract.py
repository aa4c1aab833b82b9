"""Images out of a bag, to make a map of: files, their camera, and where they were taken."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.bags.reader import Bag, Topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.messages.camera_info import camera_from_info
from deviloc_ros.messages.image import Pixels, pixels_from_message
from deviloc_ros.messages.rectification import rectification
from deviloc_ros.robot.transform_buffer import TransformUnavailableError


@dataclass(frozen=True)
class ExtractOptions:
    """Which images.

    Attributes:
        topic: of the images; None: the only one there is.
        camera_info: its topic; None: beside the images.
        rectified: images are rectified; auto: the topic's name decides.
        distance: an image every so many metres, where the bag's transforms tell its place.
        every: an image every so many seconds elsewhere.
        odom_frame: frame of the places.
    """

    topic: str | None = None
    camera_info: str | None = None
    rectified: Literal["auto", "yes", "no"] = "auto"
    distance: float = 0.5
    every: float = 0.5
    odom_frame: str = "odom"


@dataclass(frozen=True)
class Extraction:
    """What was taken out.

    Attributes:
        camera: of all images.
        names: of the image files.
        positions: of the camera in the odometry frame (3,), metres, by name; only where it is
            known.
    """

    camera: Camera
    names: tuple[str, ...]
    positions: dict[str, NDArray[np.float64]]


def extract(
    bag: Bag,
    output: Path,
    options: ExtractOptions,
    progress: Callable[[], object] = lambda: None,
    tell: Callable[[str], object] = lambda text: None,
) -> Extraction:
    """Write `images/STAMP.png`, `camera.txt`, and `positions.txt` if places are known.

    Args:
        bag: opened.
        output: folder, made if it does not exist.
        options: see there.
        progress: called for every image of the bag.
        tell: takes a line for people.

    Raises:
        InputError: topics are missing, the camera changes, or nothing can be written.
    """
    topic = bag.image_topic(options.topic)
    camera, size = _camera(bag, topic, options, tell)
    target = output / "images"
    if target.exists():
        raise InputError(f"{target}: is there already; name a new folder by --output")
    # Images of a run that was interrupted must not be taken for all of them.
    folder = output / "images.unfinished"
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{output}: cannot be made ({error.strerror})") from None
    transforms = BagTransforms(bag, tell=tell)
    names: list[str] = []
    positions: dict[str, NDArray[np.float64]] = {}
    last_stamp, last_position = None, None
    for recorded, message in bag.read([topic.name]):
        progress()
        transforms.advance(recorded.stamp)
        stamp = stamp_of(message)
        position = _position(transforms, options.odom_frame, message.header.frame_id, stamp)
        if last_stamp is not None:
            if position is not None and last_position is not None:
                far = float(np.linalg.norm(position - last_position)) >= options.distance
            else:
                far = abs(stamp - last_stamp) >= options.every * NANOSECONDS
            if not far:
                continue
        pixels = pixels_from_message(message)
        if (pixels.shape[1], pixels.shape[0]) != size:
            raise InputError(
                f"{bag.path}: {topic.name}: the image of {stamp} ns is {pixels.shape[1]} x "
                f"{pixels.shape[0]}, the camera_info says {size[0]} x {size[1]}"
            )
        name = f"{stamp}.png"
        _write(folder / name, pixels)
        names.append(name)
        last_stamp, last_position = stamp, position
        if position is not None:
            positions[name] = position
    _write_text(output / "camera.txt", [str(camera)])
    if positions:
        lines = [f"{name} {x!r} {y!r} {z!r}" for name, (x, y, z) in _numbers(positions)]
        _write_text(output / "positions.txt", lines)
    folder.rename(target)
    return Extraction(camera, tuple(names), positions)


def _camera(
    bag: Bag, topic: Topic, options: ExtractOptions, tell: Callable[[str], object]
) -> tuple[Camera, tuple[int, int]]:
    """Return the camera of the first calibration, for the size of the first image."""
    info_topic = bag.info_topic(topic, options.camera_info)
    info = next(message for _, message in bag.read([info_topic.name]))
    first = pixels_from_message(next(message for _, message in bag.read([topic.name])))
    size = first.shape[1], first.shape[0]
    decided = rectification(options.rectified, topic.name, info)
    tell(f"{topic.name}: {decided}")
    return camera_from_info(info, size, decided.rectified), size


def _position(
    transforms: BagTransforms, odom: str, frame: str, stamp: int
) -> NDArray[np.float64] | None:
    try:
        return transforms.lookup(odom, frame.lstrip("/"), stamp).translation
    except TransformUnavailableError:
        return None


def _numbers(
    positions: dict[str, NDArray[np.float64]],
) -> list[tuple[str, tuple[float, float, float]]]:
    return [(name, (float(x), float(y), float(z))) for name, (x, y, z) in positions.items()]


def _write(path: Path, pixels: Pixels) -> None:
    colour = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    with atomic_path(path) as temporary:
        if not cv2.imwrite(str(temporary), colour):
            raise InputError(f"{path}: the image cannot be written")


def _write_text(path: Path, lines: list[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
