"""What night does to a picture: lamps, lit windows, the sensor's curve and noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def by_night(image: Image, rng: np.random.Generator) -> Image:
    """Return a gray image (H, W) as a camera might see it by night."""
    height, width = image.shape
    scene = (image.astype(np.float32) / 255) ** 2.2
    scene = _windows(scene, rng)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    # Pools of light on what is there, and glare of the lamps themselves.
    light = np.full(image.shape, rng.uniform(0.02, 0.3), np.float32)
    glare = np.zeros_like(light)
    for _ in range(int(rng.integers(1, 6))):
        at = rng.uniform((0, 0), (width, height))
        distance = np.hypot(x - at[0], y - at[1])
        reach = rng.uniform(0.1, 0.5) * width
        light += rng.uniform(0.2, 1.5) * np.exp(-((distance / reach) ** 2))
        glare += rng.uniform(0, 0.6) * np.exp(-((distance / rng.uniform(4, 40)) ** 2))
    seen = scene * light + glare
    exposure = rng.uniform(0.25, 0.7) / max(float(np.quantile(seen, 0.95)), 1e-3)
    return sensed(seen * exposure, rng, noise=rng.uniform(0.004, 0.05))


def in_other_weather(image: Image, rng: np.random.Generator) -> Image:
    """Return a gray image (H, W) in another season, weather or exposure of the day."""
    scene = (image.astype(np.float32) / 255) ** 2.2
    # Snow, leaves and wet ground: smooth patches become brighter or darker.
    scene = scene * np.exp(rng.uniform(0, 0.8) * _smooth(image.shape, rng, 0.15))
    if rng.random() < 0.3:
        fog = rng.uniform(0.1, 0.6)
        scene = (1 - fog) * scene + fog * rng.uniform(0.4, 0.8)
    exposure = rng.uniform(0.5, 1.0) / max(float(np.quantile(scene, 0.98)), 1e-3)
    return sensed(scene * exposure, rng, noise=rng.uniform(0.001, 0.015))


def sensed(light: NDArray[np.float32], rng: np.random.Generator, noise: float) -> Image:
    """Return what a sensor delivers of light (H, W), 1 being white: noise, blur, curve, JPEG."""
    shot = np.sqrt(np.clip(light, 0, 1) * noise * 0.3 + (0.2 * noise) ** 2)
    light = light + shot * rng.standard_normal(light.shape, dtype=np.float32)
    if rng.random() < 0.4:
        light = cv2.GaussianBlur(light, (0, 0), float(rng.uniform(0.5, 1.8)))
    curve = np.clip(light, 0, 1) ** (1 / rng.uniform(1.6, 2.8))
    gray = np.asarray(np.clip(255 * curve + 0.5, 0, 255), dtype=np.uint8)
    quality = int(rng.integers(25, 95))
    _, coded = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _windows(scene: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the scene with rectangles lit from inside: what was dark there is bright now."""
    scene = scene.copy()
    height, width = scene.shape
    for _ in range(int(rng.integers(0, 20))):
        w, h = (rng.uniform(0.02, 0.12, 2) * width).astype(int)
        left, top = rng.integers(0, width - w), rng.integers(0, max(height - h, 1))
        part = scene[top : top + h, left : left + w]
        if rng.random() < 0.6:
            part[:] = np.float32(rng.uniform(0.3, 1.5)) * (1 - part)
        else:
            part += np.float32(rng.uniform(0.1, 1.0))
    return scene


def _smooth(shape: tuple[int, ...], rng: np.random.Generator, size: float) -> NDArray[np.float32]:
    """Return a smooth random field (H, W) of unit variance."""
    cells = max(2, round(1 / size))
    field = rng.standard_normal((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC))
