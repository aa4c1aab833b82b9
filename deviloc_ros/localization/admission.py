"""Whether an image can be a query at all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.types import FailureReason, LocalizationFailure

MIN_IMAGE_SIDE = 64


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
