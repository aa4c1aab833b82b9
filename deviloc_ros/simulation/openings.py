"""Windows, doors, shops and posters, painted on a front."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deviloc_ros.simulation import paint
from deviloc_ros.simulation.mesh import Texture
from deviloc_ros.simulation.paint import Canvas, Colour

GROUND_FLOOR = 3.7
STOREY = 3.0
SHOP_WORDS = (
    *("BAKERY", "BOOKS", "CAFE", "NORD", "FLOWERS", "HOTEL", "ADLER", "BIKES", "PHARMACY"),
    *("CINEMA", "RADIO", "OPTICS", "FISH", "VINYL", "TOYS", "KIOSK", "LAMPS", "PIANO"),
    *("TAILOR", "TEA", "GALLERY", "HATS", "CLOCKS", "BARBER"),
)


@dataclass(frozen=True)
class Opening:
    """A window, door or shop window in a front: a rectangle in metres."""

    x0: float
    z0: float
    x1: float
    z1: float


def _window(
    rng: np.random.Generator, canvas: Canvas, o: Opening, frame: Colour, lamps: bool
) -> None:
    """Paint frame, glass with a reflected sky, and what is behind it."""
    canvas.fill(o.x0, o.z0, o.x1, o.z1, frame)
    lit = bool(rng.random() < 0.45) and lamps
    reflection, curtain, tone = rng.uniform(40, 120), rng.random(), rng.uniform(120, 230, 3)
    panes, bar = int(rng.integers(1, 4)), 0.06
    split = rng.uniform(0.55, 0.8)
    edges = np.linspace(o.x0 + bar, o.x1 - bar, panes + 1)
    for left, right in zip(edges[:-1] + bar / 2, edges[1:] - bar / 2, strict=True):
        middle = o.z0 + split * (o.z1 - o.z0)
        for low, high in ((o.z0 + bar, middle - bar / 2), (middle + bar / 2, o.z1 - bar)):
            glass = 0.5 + 0.5 * np.linspace(1, 0, 24, dtype=np.float32)[:, None]
            glass = glass + 0.2 * paint.noise(rng, (24, 24), 7)
            colour = (
                (255.0, 205.0, 120.0) if lit else (0.8 * reflection, 0.95 * reflection, reflection)
            )
            canvas.picture(left, low, right, high, paint.shaded(colour, glass))
    inner = o.x1 - o.x0 - 2 * bar
    drop: Colour = (float(tone[0]), float(tone[1]), float(tone[2]))
    if curtain < 0.35:
        canvas.fill(
            o.x0 + bar, o.z1 - bar - 0.5 * curtain * (o.z1 - o.z0), o.x1 - bar, o.z1 - bar, drop
        )
    elif curtain < 0.6:
        share = 0.22
        for left in (o.x0 + bar, o.x1 - bar - share * inner):
            canvas.fill(left, o.z0 + bar, left + share * inner, o.z1 - bar, drop)


def upper_floors(
    rng: np.random.Generator, canvas: Canvas, width: float, height: float, lamps: bool
) -> list[Opening]:
    """Paint the windows above the ground floor and return where they are."""
    openings = []
    frame: Colour = ((235.0, 235.0, 230.0), (70.0, 50.0, 40.0), (60.0, 75.0, 65.0))[rng.integers(3)]
    columns = max(1, int(width / rng.uniform(2.2, 3.2)))
    window = np.array([rng.uniform(0.9, 1.5), rng.uniform(1.3, 1.9)])
    for floor in np.arange(GROUND_FLOOR, height - STOREY + 0.4, STOREY):
        for column in range(columns):
            if rng.random() < 0.06:
                continue
            x = (column + 0.5) * width / columns - window[0] / 2
            z = floor + 0.75
            opening = Opening(x, z, x + window[0], min(z + window[1], height - 0.4))
            _window(rng, canvas, opening, frame, lamps)
            openings.append(opening)
    return openings


def ground_floor(
    rng: np.random.Generator, canvas: Canvas, width: float, lamps: bool
) -> list[Opening]:
    """Paint a door and, mostly, a shop with its window and sign, or posters on the wall."""
    base = rng.uniform(60, 150)
    canvas.fill(0, 0, width, 0.45, (base, base, 0.95 * base))
    door = Opening(*(rng.uniform(0.4, 0.9), 0.05, 0.0, 2.45))
    door = Opening(door.x0, door.z0, door.x0 + rng.uniform(1.0, 1.4), door.z1)
    tone = rng.uniform(30, 160, 3)
    canvas.fill(door.x0, door.z0, door.x1, door.z1, (tone[0], tone[1], tone[2]))
    for z in (0.35, 1.3):
        canvas.darken(door.x0 + 0.15, z, door.x1 - 0.15, z + 0.75, 0.7)
    canvas.text(door.x0, 2.5, door.x1, 2.95, str(rng.integers(1, 99)), (20, 20, 20))
    start, openings = door.x1 + 0.4, [door]
    if rng.random() < 0.65:
        sign = rng.uniform(20, 200, 3)
        canvas.fill(start, 2.75, width - 0.4, 3.45, (sign[0], sign[1], sign[2]))
        ink = (245, 240, 225) if sign.mean() < 120 else (25, 25, 30)
        words = " ".join(rng.choice(SHOP_WORDS, 2 if width > 9 else 1, replace=False))
        canvas.text(start + 0.1, 2.78, width - 0.5, 3.42, words, ink)
        count = max(1, int((width - start) / 3.0))
        edges = np.linspace(start, width - 0.4, count + 1)
        for left, right in zip(edges[:-1] + 0.1, edges[1:] - 0.1, strict=True):
            shop = Opening(left, 0.6, right, 2.6)
            name = paint.PHOTOGRAPHS[rng.integers(len(paint.PHOTOGRAPHS))]
            goods = _crop(rng, paint.photograph(name))
            canvas.fill(left, 0.6, right, 2.6, (40, 40, 42))
            shade = 0.95 if lamps else 0.62
            canvas.picture(left + 0.07, 0.67, right - 0.07, 2.53, (goods * shade).astype(np.uint8))
            openings.append(shop)
        return openings
    for x in np.arange(start + 0.2, width - 2.0, 2.4):
        if rng.random() < 0.5:
            window = Opening(x, 1.0, x + 1.2, 2.5)
            _window(rng, canvas, window, (225, 225, 220), lamps)
            openings.append(window)
        else:
            name = paint.PHOTOGRAPHS[rng.integers(len(paint.PHOTOGRAPHS))]
            low = rng.uniform(0.9, 1.2)
            canvas.fill(x - 0.05, low - 0.05, x + 1.25, low + 1.65, (240, 240, 235))
            canvas.picture(x, low, x + 1.2, low + 1.6, _crop(rng, paint.photograph(name)))
    return openings


def _crop(rng: np.random.Generator, picture: Texture) -> Texture:
    """Return a part of a photograph, so that no two posters are the same."""
    height, width = picture.shape[:2]
    part = rng.uniform(0.5, 0.9)
    h, w = int(part * height), int(part * width)
    y, x = int(rng.integers(height - h)), int(rng.integers(width - w))
    crop = picture[y : y + h, x : x + w]
    return np.asarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
