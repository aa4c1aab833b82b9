"""Camera models as PIN takes them."""

from __future__ import annotations

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


def pin_intrinsics(camera: Camera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix K (3, 3) and the distortion k1, k2, p1, p2 (4,) of a reference camera.

    Raises:
        InputError: PIN's undistortion cannot express the camera model.
    """
    if camera.model not in _DISTORTION_SLOTS:
        raise InputError(
            f"camera model {camera.model}: the topicfm matcher takes "
            f"{', '.join(_DISTORTION_SLOTS)}; undistort the reference images, or use xfeat"
        )
    distortion = np.zeros(4)
    slots = _DISTORTION_SLOTS[camera.model]
    distortion[: len(slots)] = [camera.params[slot] for slot in slots]
    return camera.intrinsics, distortion
