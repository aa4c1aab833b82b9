"""Camera models as PIN takes them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera

_DISTORTION_SLOTS: dict[str, tuple[int, ...]] = {
    # indices of k1, k2, p1, p2 among the model's parameters
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": (3,),
    "RADIAL": (3, 4),
    "OPENCV": (4, 5, 6, 7),
}


def check_models(models: Iterable[tuple[str, str]]) -> None:
    """Refuse camera models that PIN's undistortion cannot express.

    Args:
        models: what to name in an error, such as an image, and COLMAP's name of the model.

    Raises:
        InputError: names the first such model.
    """
    for source, model in models:
        if model not in _DISTORTION_SLOTS:
            raise InputError(
                f"{source}: camera model {model}: the topicfm matcher takes "
                f"{', '.join(_DISTORTION_SLOTS)}; undistort the reference images, or use xfeat"
            )


def pin_intrinsics(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix K (3, 3) and the distortion k1, k2, p1, p2 (4,) of a reference camera.

    Raises:
        InputError: PIN's undistortion cannot express the camera model.
    """
    check_models([("reference", camera.model)])
    distortion = np.zeros(4)
    slots = _DISTORTION_SLOTS[camera.model]
    distortion[: len(slots)] = [camera.params[slot] for slot in slots]
    return camera.intrinsics, distortion
