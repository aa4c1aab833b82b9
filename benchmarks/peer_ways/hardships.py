"""What makes a query hard: each changes a gray image (H, W) and is the same for every way."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from doubt_scenes import darkened
from lifting.queries import blurred, dark, plain
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Hardship = Callable[[Image, np.random.Generator], Image]


def jpeg(image: Image, generator: np.random.Generator) -> Image:
    """Return the image as JPEG of quality 20 keeps it."""
    del generator
    coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 20])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def quarter_occluded(image: Image, generator: np.random.Generator) -> Image:
    """Return the image with a box of one brightness in front of a quarter of it."""
    hidden = image.copy()
    high, wide = (side // 2 for side in image.shape)
    top, left = (generator.integers(0, side - side // 2 + 1) for side in image.shape)
    hidden[top : top + high, left : left + wide] = generator.integers(0, 256)
    return hidden


def fog(image: Image, generator: np.random.Generator) -> Image:
    """Return the image with contrast that falls from the bottom to the top, and some noise."""
    seen = np.linspace(0.15, 0.7, len(image))[:, None]
    mixed = image * seen + 200.0 * (1 - seen) + generator.normal(0, 2, image.shape)
    return np.asarray(np.clip(mixed + 0.5, 0, 255), dtype=np.uint8)


def lamps(image: Image, generator: np.random.Generator) -> Image:
    """Return the image as by night with three lamps; see doubt_scenes.darkened."""
    return darkened(image, int(generator.integers(0, 2**31)))


HARDSHIPS: dict[str, Hardship] = {
    "clean": plain,
    "dark": dark,
    "blurred": blurred,
    "jpeg": jpeg,
    "occluded": quarter_occluded,
    "fog": fog,
    "lamps": lamps,
}
