"""Light on a street, and what a sensor makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.simulation import paint
from deviloc_ros.simulation.paint import Colour


@dataclass(frozen=True)
class Light:
    """Sun, sky and exposure.

    Attributes:
        sun_from: direction from the ground towards the sun, map frame.
        sun: colour and strength of its light; the sum of all light is at most 1.
        ambient: colour and strength of the light from the sky, half of it from below.
        fill: colour and strength of the light reflected from the side opposite the sun.
        zenith: colour of the sky overhead, 0 to 255.
        horizon: colour of the sky low down.
        clouds: share of the sky that is covered.
        exposure: the sensor's gain.
        gamma: exponent of the sensor's curve; above 1 deepens shadows.
        noise: standard deviation of the sensor's noise, gray levels.
        evening: lamps are lit.
    """

    sun_from: tuple[float, float, float]
    sun: Colour
    ambient: Colour
    fill: Colour
    zenith: Colour
    horizon: Colour
    clouds: float = 0.4
    exposure: float = 1.0
    gamma: float = 1.0
    noise: float = 1.5
    evening: bool = False

    def on(self, normals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the light (M, 3), 0 to 1, on surfaces with these unit normals (M, 3)."""
        sun = np.asarray(self.sun_from) / np.linalg.norm(self.sun_from)
        opposite = sun * (-1, -1, 1)
        light = np.outer(0.75 + 0.25 * normals[:, 2], self.ambient)
        light += np.outer(np.clip(normals @ sun, 0, 1), self.sun)
        light += np.outer(np.clip(normals @ opposite, 0, 1), self.fill)
        return np.asarray(np.clip(light, 0, 1))


DAY = Light(
    sun_from=(0.3, -0.7, 0.9),
    sun=(0.52, 0.5, 0.45),
    ambient=(0.46, 0.48, 0.52),
    fill=(0.1, 0.11, 0.13),
    zenith=(88, 140, 208),
    horizon=(206, 222, 236),
    exposure=1.2,
)
EVENING = Light(
    sun_from=(-0.55, 0.8, 0.28),
    sun=(0.72, 0.44, 0.22),
    ambient=(0.34, 0.34, 0.42),
    fill=(0.07, 0.08, 0.13),
    zenith=(56, 66, 116),
    horizon=(238, 162, 104),
    clouds=0.6,
    exposure=1.25,
    gamma=1.1,
    noise=4.0,
    evening=True,
)


def sky(light: Light, seed: int, shape: tuple[int, int] = (512, 2048)) -> NDArray[np.uint8]:
    """Return a panorama (H, W, 3): from the zenith (top row) to the horizon, with clouds."""
    rng = np.random.default_rng(seed)
    height, width = shape
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 0.7
    colours = (1 - down) * np.asarray(light.zenith, np.float32) + down * np.asarray(
        light.horizon, np.float32
    )
    # The noise is mirrored around the panorama, so that there is no seam.
    half = [paint.noise(rng, (height, width // 2), cell) for cell in (120, 50, 20, 8)]
    cover = sum(n * w for n, w in zip(half, (0.5, 0.3, 0.14, 0.07), strict=True))
    cover = np.concatenate([cover, np.asarray(cover)[:, ::-1]], 1)
    cover = np.clip((cover - (0.45 - light.clouds)) * 1.4, 0, 1)[..., None]
    bright = np.asarray(light.horizon, np.float32) * 0.55 + 110
    picture = colours * (1 - 0.8 * cover) + 0.8 * cover * bright
    return np.asarray(np.clip(picture, 0, 255), dtype=np.uint8)


def expose(image: NDArray[np.uint8], light: Light, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return what the sensor delivers: gain, curve, darker corners and noise.

    Args:
        image: (H, W, 3) uint8 RGB, as rendered.
        light: exposure, gamma and noise are used.
        rng: of the noise.
    """
    height, width = image.shape[:2]
    levels = np.arange(256, dtype=np.float32) / 255
    curve = 255 * (levels * light.exposure) ** light.gamma
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    corners = 1 - 0.14 * (x * x + y * y)
    bright = cv2.LUT(image, np.repeat(curve[:, None], 3, 1)[None].astype(np.float32))
    gray = rng.standard_normal((height, width, 1), dtype=np.float32)
    colour = rng.standard_normal((height, width, 3), dtype=np.float32)
    noisy = bright * corners[..., None] + light.noise * (0.8 * gray + 0.6 * colour)
    return np.asarray(np.clip(noisy + 0.5, 0, 255), dtype=np.uint8)
