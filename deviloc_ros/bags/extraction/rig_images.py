"""Images of the other cameras of a rig, taken when an image of its first camera was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from deviloc_ros.bags.extraction.sources import OpenedCamera, given_mount
from deviloc_ros.bags.left_out import LeftOut
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.mounted_camera import MountedCamera
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.images import write_image
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.robot.transform_buffer import TransformUnavailableError

# Cameras of one rig do not move against each other by more, metres and degrees.
MAX_SHIFT, MAX_TURN = 2e-3, 0.2


@dataclass
class RigImages:
    """What came of the other cameras.

    Attributes:
        names: of the image files, below the folder.
        left_out: images that could not be used.
        apart: the largest difference between the stamps of one instant, seconds.
    """

    names: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    apart: float = 0.0


def write_rig_images(
    bag: Bag,
    cameras: Sequence[OpenedCamera],
    mounts: Mapping[str, MountedCamera],
    chosen: Mapping[int, str],
    folder: Path,
    tolerance: float,
    tell: Callable[[str], object],
) -> RigImages:
    """Write the images of all cameras but the first.

    Args:
        bag: opened.
        cameras: all of the rig.
        mounts: their places, by name.
        chosen: file names of the first camera's images, without folder, by stamp in nanoseconds.
        folder: gets a folder for each camera.
        tolerance: stamps of one instant differ by no more, seconds.
        tell: takes a line for people.

    Raises:
        InputError: a camera moves against the first one, or the bag is damaged.
    """
    result = RigImages()
    others = {camera.topic.name: camera for camera in cameras[1:]}
    stamps = np.array(sorted(chosen), dtype=np.int64)
    wanted = _nearest(bag, others, stamps, tolerance)
    transforms = BagTransforms(bag, tell=tell)

    def refuse(recorded: object, error: InputError) -> None:
        pass  # it was told of when stamps were read

    for recorded, message in bag.read(list(others), refuse):
        camera = others[recorded.topic]
        transforms.advance(recorded.stamp)
        own = stamp_of(message)
        stamp = wanted[recorded.topic].pop(own, None)
        if stamp is None:
            continue
        _check_fixed(bag, transforms, cameras[0], camera, mounts, own)
        try:
            pixels = pixels_from_message(message)
            if (pixels.shape[1], pixels.shape[0]) != camera.size:
                raise InputError(
                    f"the image is {pixels.shape[1]} x {pixels.shape[0]}, the first one that fits "
                    f"its camera {camera.size[0]} x {camera.size[1]}"
                )
        except InputError as error:
            result.left_out.append(LeftOut(recorded.topic, own, str(error)))
            continue
        name = f"{camera.source.name}/{chosen[stamp]}"
        (folder / camera.source.name).mkdir(exist_ok=True)
        write_image(folder / name, pixels)
        result.names.append(name)
        result.apart = max(result.apart, abs(own - stamp) / NANOSECONDS)
    return result


def _nearest(
    bag: Bag, others: Mapping[str, OpenedCamera], stamps: np.ndarray, tolerance: float
) -> dict[str, dict[int, int]]:
    """Return for each topic the stamp of its image that is nearest to each chosen stamp."""
    best: dict[str, dict[int, int]] = {topic: {} for topic in others}
    for recorded, message in bag.read(list(others), lambda *_: None):
        own = stamp_of(message)
        nearest = int(stamps[np.abs(stamps - own).argmin()])
        found = best[recorded.topic]
        if abs(own - nearest) > tolerance * NANOSECONDS:
            continue
        if nearest not in found or abs(own - nearest) < abs(found[nearest] - nearest):
            found[nearest] = own
    return {topic: {own: stamp for stamp, own in found.items()} for topic, found in best.items()}


def _check_fixed(
    bag: Bag,
    transforms: BagTransforms,
    first: OpenedCamera,
    camera: OpenedCamera,
    mounts: Mapping[str, MountedCamera],
    stamp: int,
) -> None:
    if given_mount(first, camera) is not None:
        return
    try:
        place = transforms.lookup(first.frame, camera.frame, stamp)
    except TransformUnavailableError:
        return  # it is where it was found first
    rig_from_camera = mounts[camera.source.name].camera_from_rig.inverse()
    metres, degrees = place.distance_to(rig_from_camera)
    if metres > MAX_SHIFT or degrees > MAX_TURN:
        raise InputError(
            f"{bag.path}: {camera.topic.name} moves against {first.topic.name} by {metres:.3f} m, "
            f"{degrees:.2f} deg: they are no rig; map one of them"
        )
