"""Pictures of materials, drawn by chance and never repeating, and bundled photographs."""

from __future__ import annotations

import io
from functools import lru_cache
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deviloc_ros.errors import InputError
from deviloc_ros.simulation.mesh import Texture

PIXELS_PER_METRE = 64
Colour = tuple[float, float, float]

PHOTOGRAPHS = (
    "astronaut.png",
    "coffee.png",
    "chelsea.png",
    "rocket.jpg",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "page.png",
    "coins.png",
    "ihc.png",
    "moon.png",
)


@lru_cache(maxsize=32)
def photograph(name: str) -> Texture:
    """Return one of the photographs inside scikit-image's package, RGB; nothing is downloaded.

    Raises:
        InputError: scikit-image is not installed, or without its data.
    """
    try:
        data = files("skimage.data").joinpath(name).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise InputError(
            f"the simulated street needs scikit-image's bundled picture {name}: "
            "pip install scikit-image"
        ) from None
    picture: Texture = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    picture.setflags(write=False)
    return picture


def metres(length: float) -> int:
    """Return a length in texture pixels."""
    return max(2, round(length * PIXELS_PER_METRE))


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> NDArray[np.float32]:
    """Return smooth noise (H, W) of unit variance with features of about `cell` pixels."""
    height, width = shape
    grid = rng.standard_normal((int(height / cell) + 3, int(width / cell) + 3), dtype=np.float32)
    scaled = grid if cell == 1 else cv2.resize(grid, None, None, cell, cell, cv2.INTER_CUBIC)
    return np.asarray(scaled[:height, :width], dtype=np.float32)


def rough(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return noise (H, W) with features of every size, of about unit variance."""
    weights = {1: 0.4, 3: 0.4, 9: 0.4, 30: 0.5, 110: 0.6}
    total = np.zeros(shape, np.float32)
    for cell, weight in weights.items():
        total += weight * noise(rng, shape, cell)
    return total


def shaded(colour: Colour, brightness: NDArray[np.float32]) -> Texture:
    """Return a colour (0 to 255) multiplied by a brightness (H, W)."""
    result = np.empty((*brightness.shape, 3), np.uint8)
    for channel, value in enumerate(np.asarray(colour, np.float32)):
        result[..., channel] = np.clip(value * brightness, 0, 255)
    return result


def stucco(rng: np.random.Generator, shape: tuple[int, int], colour: Colour) -> Texture:
    """Plaster with stains that run down."""
    height, width = shape
    streaks = cv2.resize(noise(rng, (8, width), 5), (width, height))
    return shaded(colour, 1 + 0.07 * rough(rng, shape) + 0.05 * streaks)


def bricks(
    rng: np.random.Generator,
    shape: tuple[int, int],
    colour: Colour,
    size: tuple[float, float] = (0.25, 0.085),
) -> Texture:
    """Brickwork (or stone blocks) in running bond: every brick has its own tone."""
    height, width = shape
    brick_width, brick_height = size[0] * PIXELS_PER_METRE, size[1] * PIXELS_PER_METRE
    row = np.arange(height, dtype=np.float32)
    across = np.arange(width, dtype=np.float32)
    course = (row // brick_height).astype(int)
    # All rows of a course are alike.
    courses = np.arange(course.max() + 1)[:, None]
    shifted = across + brick_width * (0.5 * (courses % 2) + 0.13 * np.sin(courses * 1.7))
    column, within = np.divmod(shifted, brick_width)
    column = column.astype(int)
    tones = rng.normal(0, 0.16, (len(courses), column.max() + 2)).astype(np.float32)
    toned = 1 + tones[courses, column]
    joint = ((row % brick_height) < 1.2)[:, None] | (within < 1.2)[course]
    wall = shaded(colour, toned[course] + 0.07 * rough(rng, shape))
    mortar = shaded((150, 145, 135), 1 + 0.1 * rough(rng, shape))
    wall[joint] = mortar[joint]
    return wall


def asphalt(rng: np.random.Generator, shape: tuple[int, int]) -> Texture:
    """Road surface: grain from the gravel photograph, patches, stains and cracks."""
    gravel = cv2.cvtColor(photograph("gravel.png"), cv2.COLOR_RGB2GRAY)
    grain = np.asarray(cv2.resize(gravel, (256, 256), interpolation=cv2.INTER_AREA), np.float32)
    grain = np.tile(
        (grain - grain.mean()) / grain.std(), (shape[0] // 256 + 1, shape[1] // 256 + 1)
    )
    brightness = 1 + 0.13 * grain[: shape[0], : shape[1]] + 0.12 * rough(rng, shape)
    for _ in range(shape[1] // 250):
        x, y = int(rng.integers(shape[1])), int(rng.integers(shape[0]))
        w, h = int(rng.integers(60, 300)), int(rng.integers(40, 160))
        brightness[y : y + h, x : x + w] *= rng.uniform(0.75, 1.25)
    road = shaded((88, 88, 92), brightness)
    for _ in range(shape[1] // 120):
        steps = np.cumsum(rng.normal(0, 9, (14, 2)), axis=0) + rng.uniform((0, 0), shape[::-1])
        cv2.polylines(road, [steps.astype(np.int32)], False, (52, 52, 54), 1, cv2.LINE_AA)
    return road


def paving(rng: np.random.Generator, shape: tuple[int, int]) -> Texture:
    """Slabs of a sidewalk."""
    return bricks(rng, shape, (158, 152, 144), (0.6, 0.4))


def leaves(rng: np.random.Generator, colour: Colour) -> Texture:
    """Foliage, from the photograph of grass."""
    grass = cv2.cvtColor(photograph("grass.png"), cv2.COLOR_RGB2GRAY)
    grass = np.rot90(grass, int(rng.integers(4)))
    return shaded(colour, np.asarray((grass / 110.0) ** 1.6, dtype=np.float32))


def plain(rng: np.random.Generator, colour: Colour, size: int = 64) -> Texture:
    """Painted metal or wood: one colour, slightly uneven."""
    return shaded(colour, 1 + 0.05 * rough(rng, (size, size)))


class Canvas:
    """A picture measured in metres: x to the right from the left edge, z up from the lower one."""

    def __init__(self, picture: Texture) -> None:
        """Draw on (a copy of) a picture of PIXELS_PER_METRE."""
        self.pixels = np.ascontiguousarray(picture).copy()

    def _span(self, x0: float, z0: float, x1: float, z1: float) -> tuple[slice, slice]:
        height, width = self.pixels.shape[:2]
        left, right = (int(np.clip(round(x * PIXELS_PER_METRE), 0, width)) for x in (x0, x1))
        low, high = (
            int(np.clip(height - round(z * PIXELS_PER_METRE), 0, height)) for z in (z0, z1)
        )
        return slice(high, low), slice(left, right)

    def fill(self, x0: float, z0: float, x1: float, z1: float, colour: Colour) -> None:
        """Fill a rectangle with one colour."""
        self.pixels[self._span(x0, z0, x1, z1)] = np.asarray(colour, np.float32).astype(np.uint8)

    def darken(self, x0: float, z0: float, x1: float, z1: float, factor: float) -> None:
        """Multiply a rectangle's brightness."""
        span = self._span(x0, z0, x1, z1)
        self.pixels[span] = (self.pixels[span] * factor).astype(np.uint8)

    def picture(self, x0: float, z0: float, x1: float, z1: float, picture: Texture) -> None:
        """Put a picture into a rectangle, stretched to it."""
        span = self._span(x0, z0, x1, z1)
        height, width = self.pixels[span].shape[:2]
        if height and width:
            self.pixels[span] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)

    def text(self, x0: float, z0: float, x1: float, z1: float, text: str, colour: Colour) -> None:
        """Write a line of text that fills a rectangle."""
        span = self._span(x0, z0, x1, z1)
        patch = np.ascontiguousarray(self.pixels[span])
        if patch.shape[0] < 6 or patch.shape[1] < 6:
            return
        font, thickness = cv2.FONT_HERSHEY_DUPLEX, max(1, patch.shape[0] // 18)
        (width, height), _ = cv2.getTextSize(text, font, 1.0, 1)
        scale = min(0.9 * patch.shape[1] / width, 0.62 * patch.shape[0] / height)
        at = (
            int((patch.shape[1] - scale * width) / 2),
            int((patch.shape[0] + scale * height) / 2),
        )
        cv2.putText(patch, text, at, font, scale, colour, thickness, cv2.LINE_AA)
        self.pixels[span] = patch
