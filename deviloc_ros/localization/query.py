"""From images to queries: whether an image can be one at all, and its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import to_gray
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import FailureReason, LocalizationFailure, Query

MIN_IMAGE_SIDE = 64


@dataclass(frozen=True)
class Admitted:
    """What became of images, by their index.

    Attributes:
        queries: those that can be localized.
        refused: those that cannot be queries, and why.
        cameras: intrinsics of all.
        clock: has taken the time.
    """

    queries: Mapping[int, Query]
    refused: Mapping[int, LocalizationFailure]
    cameras: Sequence[Camera]
    clock: StageClock

    def only(self, places: Sequence[int]) -> Admitted:
        """Return some of the images, by their indices, which are counted anew."""
        if len(places) == len(self.cameras):
            return self
        queries = {i: self.queries[j] for i, j in enumerate(places) if j in self.queries}
        refused = {i: self.refused[j] for i, j in enumerate(places) if j in self.refused}
        return Admitted(queries, refused, [self.cameras[j] for j in places], self.clock)


def admit(
    images: Sequence[NDArray[np.uint8]],
    cameras: Sequence[Camera],
    extractor: FeatureExtractor,
    clock: StageClock | None = None,
) -> Admitted:
    """Make queries of images; the networks see them as one batch where sizes agree.

    Args:
        images: (H, W) gray or (H, W, 3) RGB each.
        cameras: intrinsics, one an image.
        extractor: finds the features.
        clock: takes the time.
    """
    clock = clock or StageClock()
    refused = {}
    for index, (image, camera) in enumerate(zip(images, cameras, strict=True)):
        refusal = refuse(image, camera)
        if refusal is not None:
            refused[index] = refusal
    sound = [index for index in range(len(images)) if index not in refused]
    with clock("extract"):
        gray = [to_gray(images[index]) for index in sound]
        found = zip(sound, gray, extractor.extract(gray), strict=True)
    queries = {index: Query(features, cameras[index], image) for index, image, features in found}
    return Admitted(queries, refused, cameras, clock)


def refuse(image: NDArray[np.uint8], camera: Camera) -> LocalizationFailure | None:
    """Return why an image cannot be a query of a camera, or None."""
    height, width = image.shape[:2]
    if min(height, width) < MIN_IMAGE_SIDE:
        details = f"{width} x {height} pixels, at least {MIN_IMAGE_SIDE} a side"
        return LocalizationFailure(FailureReason.BAD_IMAGE, details)
    if (width, height) != (camera.width, camera.height):
        details = (
            f"the image has {width} x {height} pixels, the camera {camera.width} x {camera.height}"
        )
        return LocalizationFailure(FailureReason.BAD_IMAGE, details)
    return None
