"""Queries of another day: darkened and noisy, blurred, occluded."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def dark(image: Image, generator: np.random.Generator) -> Image:
    """Return the image at a fifth of its light, with the noise of a sensor at high gain."""
    exposed = (image / 255.0) ** 1.5 * 0.2
    noisy = exposed + generator.normal(0, 0.012, image.shape)
    return np.asarray(np.clip(noisy * 255 + 0.5, 0, 255), dtype=np.uint8)


def blurred(image: Image, generator: np.random.Generator) -> Image:
    """Return the image moved by 1.2 % of its longer side while it was exposed."""
    length = max(3, round(0.012 * max(image.shape)))
    angle = generator.uniform(0, np.pi)
    kernel = np.zeros((length, length), dtype=np.float32)
    centre = (length - 1) / 2
    for step in np.linspace(-centre, centre, 4 * length):
        x, y = centre + step * np.cos(angle), centre + step * np.sin(angle)
        kernel[round(y), round(x)] += 1
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), dtype=np.uint8)


def occluded(image: Image, generator: np.random.Generator) -> Image:
    """Return the image with ten boxes that hide about a third of it."""
    hidden = image.copy()
    height, width = image.shape
    for _ in range(10):
        high, wide = height // 5, width // 5
        top, left = generator.integers(0, height - high), generator.integers(0, width - wide)
        hidden[top : top + high, left : left + wide] = generator.integers(0, 256)
    return hidden


def plain(image: Image, generator: np.random.Generator) -> Image:
    """Return the image as it is."""
    del generator
    return image


PLAIN = "as they are"
CONDITIONS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    PLAIN: plain,
    "dark and noisy": dark,
    "blurred": blurred,
    "occluded": occluded,
}
