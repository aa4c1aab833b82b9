"""A condition of RobotCar Seasons as a bag: images, calibration, extrinsics, public true poses."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.bags import types
from deviloc_ros.bags.chunks import Event
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import to_gray
from deviloc_ros.robotcar.seasons_files import Seasons, SeasonsImage
from deviloc_ros.robotcar.topics import (
    BASE,
    compressed_events,
    image_events,
    optical_frame,
    truth_event,
)


class SeasonsRecording:
    """What of a condition goes into a bag; see `bags.chunks.Recording`.

    There is no odometry, and between places time jumps: the data set has neither.
    """

    def __init__(
        self,
        seasons: Seasons,
        images: Sequence[SeasonsImage],
        as_images: str,
        jpeg: int | None,
        map_from_world: Transform,
        poses: Mapping[int, Transform],
    ) -> None:
        """Choose what to write.

        Args:
            seasons: the data set.
            images: of one condition, in the order of their stamps.
            as_images: rgb or gray; raw: the stored JPEG files, as compressed images.
            jpeg: quality of compressed images; None: they are not compressed.
            map_from_world: turns the data set's frame (z down) into the map's.
            poses: world_from_base of images that have one, by stamp.

        Raises:
            InputError: calibration is missing or wrong.
        """
        self._seasons = seasons
        self._images = images
        self._as_images = as_images
        self._jpeg = jpeg
        self._map_from_world = map_from_world
        self._poses = poses
        names = sorted({image.camera for image in images})
        self._cameras = {name: seasons.camera(name) for name in names}
        self._base_from_optical = {name: seasons.base_from_optical(name) for name in names}
        self.image_stamps: Sequence[int] = [image.stamp for image in images]

    @property
    def fingerprint(self) -> str:
        """Everything that the messages depend on, the images' own content aside."""
        extrinsics = {name: t.matrix.tolist() for name, t in self._base_from_optical.items()}
        poses = sum(float(pose.translation.sum()) for pose in self._poses.values())
        place = Path(self._seasons.folder).resolve()
        written = self._as_images, self._jpeg, self._map_from_world.matrix.tolist()
        return repr((place, written, self._cameras, extrinsics, self._images, poses))

    def events(self, begin: int, end: int) -> Iterator[Event]:
        """Yield the messages of [begin, end), ascending."""
        yield Event(begin, "/tf_static", partial(self._static, begin), latched=True)
        first = bisect.bisect_left(self.image_stamps, begin)
        after = bisect.bisect_left(self.image_stamps, end)
        told = -1
        for image in self._images[first:after]:
            world_from_base = self._poses.get(image.stamp)
            if world_from_base is not None and image.stamp != told:
                yield truth_event(image.stamp, self._map_from_world @ world_from_base)
                told = image.stamp
            camera = self._cameras[image.camera]
            path = self._seasons.images_folder / image.name
            if self._as_images == "raw":
                yield from compressed_events(
                    image.camera, camera, image.stamp, partial(_content, path)
                )
            else:
                pixels = partial(self._pixels, image)
                yield from image_events(image.camera, camera, image.stamp, pixels, jpeg=self._jpeg)

    def _static(self, stamp: int) -> Any:
        transforms = []
        for name, base_from_optical in self._base_from_optical.items():
            frame = optical_frame(name)
            transforms += types.tf(stamp, BASE, frame, base_from_optical).transforms
        return types.message("tf2_msgs/msg/TFMessage", transforms=transforms)

    def _pixels(self, image: SeasonsImage) -> NDArray[np.uint8]:
        path = self._seasons.images_folder / image.name
        decoded = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if decoded is None:
            raise InputError(f"{path}: is not an image that can be decoded")
        camera = self._cameras[image.camera]
        if decoded.shape[:2] != (camera.height, camera.width):
            raise InputError(
                f"{path}: is {decoded.shape[1]} x {decoded.shape[0]} pixels, camera "
                f"{image.camera} has {camera.width} x {camera.height}"
            )
        rgb = np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return to_gray(rgb) if self._as_images == "gray" else rgb


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
