"""Images and camera models as the published networks saw them in training."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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


_MULTIPLE = 16


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Read an image as 8-bit gray, upright by its EXIF orientation; (H, W).

    The codec makes the gray image: for JPEG it is the luma plane, not a mean of RGB.

    Raises:
        InputError: the file is not there or not an image.
    """
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise InputError(f"{path}: not a readable image file")
    return np.asarray(image, dtype=np.uint8)


def network_image(
    gray: NDArray[np.uint8], target: int | None
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Reduce an image for the network.

    The longer side is reduced to `target` (never enlarged), then both sides are floored to
    multiples of 16. Pixels are interpolated as 8-bit numbers.

    Args:
        gray: (H, W) uint8.
        target: largest side, pixels, or None for no limit.

    Returns:
        The reduced image (H', W') and the scale, original pixels per network pixel in x and y.

    Raises:
        InputError: a side would be shorter than 16 pixels.
    """
    height, width = gray.shape
    reduced_height, reduced_width = height, width
    if target is not None and max(height, width) > target:
        factor = target / max(height, width)
        # round() takes halves to even, as the published code does.
        reduced_height, reduced_width = round(height * factor), round(width * factor)
    reduced_height -= reduced_height % _MULTIPLE
    reduced_width -= reduced_width % _MULTIPLE
    if min(reduced_height, reduced_width) < _MULTIPLE:
        raise InputError(
            f"image of {width} x {height} pixels: too small for the network, "
            f"which needs {_MULTIPLE} x {_MULTIPLE} after reduction to {target}"
        )
    reduced = cv2.resize(gray, (reduced_width, reduced_height))
    scale = (width / reduced_width, height / reduced_height)
    return np.asarray(reduced, dtype=np.uint8), scale


def network_tensor(gray: NDArray[np.uint8]) -> Tensor:
    """Turn a reduced image (H, W) uint8 into the network's input (1, 1, H, W) in [0, 1]."""
    return torch.from_numpy(gray.astype(np.float32) / np.float32(255))[None, None]


def reference_target(query: Tensor) -> int:
    """Return the largest side of references for a query tensor (1, 1, H, W).

    It is the longer side of the query *after* its reduction, not the configured size.
    """
    return max(query.shape[-2:])
