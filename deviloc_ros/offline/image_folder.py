"""Localize the image files of a folder.

Files have no stamps and no robot, and several go through the network in one pass: they are no
frames (`robot/localize_frames.py`). The same localizer is asked; what it says of an image beyond a
robot's needs is kept: matches before merging, and what the alignment saw.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.localization.types import (
    FailureReason,
    Localization,
    LocalizationFailure,
    PoseEstimate,
)
from deviloc_ros.robot.localize_frames import ImageLocalizer


@dataclass(frozen=True)
class LocalizedImage:
    """A query image and what came of it.

    Attributes:
        name: path below the folder.
        camera: intrinsics of the pixels that were localized.
        rescaled: the file has another size than the given camera, which was scaled to it.
        result: the pose, or why there is none.
    """

    name: str
    camera: Camera
    rescaled: bool
    result: Localization

    @property
    def estimate(self) -> PoseEstimate | None:
        """The pose, if there is one."""
        return self.result if isinstance(self.result, PoseEstimate) else None


def localize_folder(
    localizer: ImageLocalizer,
    folder: Path,
    cameras: Mapping[str, Camera],
    batch_size: int = 1,
    references: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[LocalizedImage]:
    """Localize images one after the other, or several in one pass of the network.

    An image that cannot be read, or that is not of its camera, is a failure like any other. A
    resized image is taken with its camera scaled accordingly.

    Args:
        localizer: the localizer.
        folder: where the images are.
        cameras: camera of every image, by its path below the folder.
        batch_size: images in one pass.
        references: for every image, names of the map's references to match with, best first; an
            image that is not in it has none. None: retrieval finds them.

    Yields:
        Every image's result, in the order of `cameras`.
    """
    names = iter(cameras)
    while batch := list(itertools.islice(names, batch_size)):
        done: dict[str, LocalizedImage] = {}
        images: dict[str, NDArray[np.uint8]] = {}
        fitting: dict[str, Camera] = {}
        for name in batch:
            try:
                images[name] = read_gray(folder / name)
                fitting[name] = cameras[name].fitted_to(*images[name].shape[::-1])
            except InputError as error:
                failure = LocalizationFailure(FailureReason.BAD_IMAGE, str(error))
                done[name] = LocalizedImage(name, cameras[name], False, failure)
        ready = list(fitting)
        results = localizer.localize_batch(
            [images[name] for name in ready],
            [fitting[name] for name in ready],
            references=None if references is None else [references.get(n, ()) for n in ready],
        )
        for name, result in zip(ready, results, strict=True):
            rescaled = fitting[name] != cameras[name]
            done[name] = LocalizedImage(name, fitting[name], rescaled, result)
        yield from (done[name] for name in batch)
