"""A building: painted front with recessed windows, shop, signs, sills, balconies and a roof.

Building frame: x to the right along the front, y into the building, z up, origin at the front's
lower left corner.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.simulation import paint
from deviloc_ros.simulation.mesh import Mesh, Shape, Texture, box, merged, quad
from deviloc_ros.simulation.openings import (
    GROUND_FLOOR,
    SHOP_WORDS,
    STOREY,
    Opening,
    ground_floor,
    upper_floors,
)
from deviloc_ros.simulation.paint import Canvas, Colour

RECESS = 0.18

WALL_COLOURS: tuple[Colour, ...] = (
    (196, 176, 140),
    (176, 120, 96),
    (205, 198, 186),
    (150, 160, 150),
    (188, 150, 110),
    (140, 150, 170),
    (214, 190, 150),
    (170, 110, 100),
)


def building(
    rng: np.random.Generator, width: float, height: float, depth: float, lamps: bool = False
) -> list[Mesh]:
    """Return the meshes of one building, metres, in the building frame.

    Args:
        rng: decides style, colours, windows, shops.
        width: along the street.
        height: of the front wall.
        depth: away from the street.
        lamps: it is evening, and some windows are lit. Nothing else depends on it.
    """
    material = int(rng.integers(3))
    colour = WALL_COLOURS[rng.integers(len(WALL_COLOURS))]
    shape = paint.metres(height), paint.metres(width)
    front = Canvas(_wall(rng, shape, material, colour))
    openings = [
        *ground_floor(rng, front, width, lamps),
        *upper_floors(rng, front, width, height, lamps),
    ]
    bright = float(rng.uniform(90, 235))
    trim: Colour = (bright, 0.98 * bright, 0.94 * bright)
    front.fill(0, height - 0.25, width, height, trim)
    for z in np.arange(GROUND_FLOOR, height - 1, STOREY):
        front.fill(0, z - 0.12, width, z, trim)
    meshes = [Mesh(_relief(width, height, openings), front.pixels)]
    sill = [
        box((o.x0 - 0.08, -0.14, o.z0 - 0.1), (o.x1 + 0.08, 0, o.z0))
        for o in openings
        if o.z0 > GROUND_FLOOR
    ]
    cornice = box((-0.05, -0.3, height - 0.25), (width + 0.05, 0, height))
    meshes.append(Mesh(merged([*sill, cornice]), paint.plain(rng, trim)))
    meshes += _additions(rng, width, openings)
    meshes += _sides_and_roof(rng, width, height, depth, material, colour)
    return meshes


def _wall(
    rng: np.random.Generator, shape: tuple[int, int], material: int, colour: Colour
) -> Texture:
    if material == 0:
        return paint.bricks(rng, shape, colour)
    if material == 1:
        return paint.stucco(rng, shape, colour)
    return paint.bricks(rng, shape, colour, (0.8, 0.4))


def _relief(width: float, height: float, openings: list[Opening]) -> Shape:
    """Return the front as a grid of wall cells, with the openings set back by RECESS."""
    xs = np.unique([0.0, width, *(x for o in openings for x in (o.x0, o.x1))])
    zs = np.unique([0.0, height, *(z for o in openings for z in (o.z0, o.z1))])
    inside = np.zeros((len(xs) - 1, len(zs) - 1), dtype=bool)
    for o in openings:
        inside |= np.outer(
            (xs[:-1] >= o.x0 - 1e-9) & (xs[1:] <= o.x1 + 1e-9),
            (zs[:-1] >= o.z0 - 1e-9) & (zs[1:] <= o.z1 + 1e-9),
        )

    def face(corners: NDArray[np.float64]) -> Shape:
        return quad(corners, np.stack([corners[:, 0] / width, 1 - corners[:, 2] / height], 1))

    def upright(x0: float, z0: float, x1: float, z1: float, y: float) -> Shape:
        return face(np.array([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)]))

    shapes = [upright(xs[i], zs[j], xs[i + 1], zs[j + 1], 0.0) for i, j in np.argwhere(~inside)]
    for o in openings:
        shapes.append(upright(o.x0, o.z0, o.x1, o.z1, RECESS))
        for a, b in (
            ((o.x0, o.z0), (o.x0, o.z1)),
            ((o.x1, o.z1), (o.x1, o.z0)),
            ((o.x1, o.z0), (o.x0, o.z0)),
            ((o.x0, o.z1), (o.x1, o.z1)),
        ):
            shapes.append(
                face(
                    np.array(
                        [
                            (a[0], 0.0, a[1]),
                            (a[0], RECESS, a[1]),
                            (b[0], RECESS, b[1]),
                            (b[0], 0.0, b[1]),
                        ]
                    )
                )
            )
    return merged(shapes)


def _additions(rng: np.random.Generator, width: float, openings: list[Opening]) -> list[Mesh]:
    """Return an awning, balconies and a sign that stands out from the front."""
    meshes = []
    high = [o for o in openings if o.z0 > GROUND_FLOOR]
    balconies = [o for o in high if rng.random() < 0.18]
    if balconies:
        slabs = [
            box((o.x0 - 0.4, -0.9, o.z0 - 0.2), (o.x1 + 0.4, 0, o.z0 - 0.05)) for o in balconies
        ]
        rails = [box((o.x0 - 0.4, -0.9, o.z0), (o.x1 + 0.4, -0.86, o.z0 + 0.9)) for o in balconies]
        meshes.append(Mesh(merged(slabs), paint.plain(rng, (170, 168, 160))))
        bars = np.full((64, 64, 3), 190, np.uint8)
        bars[:, ::6] = bars[:, 1::6] = rng.integers(20, 90, 3)
        bars[:5] = bars[-5:] = 40
        meshes.append(Mesh(merged(rails), bars))
    if rng.random() < 0.4:
        stripes = np.full((48, 96, 3), 235, np.uint8)
        stripes[:, (np.arange(96) // 8) % 2 == 0] = rng.integers(30, 200, 3)
        x0, x1 = 2.4, width - 0.3
        corners = [(x0, -1.1, 2.55), (x1, -1.1, 2.55), (x1, 0, 3.3), (x0, 0, 3.3)]
        meshes.append(Mesh(quad(corners), stripes))
    if rng.random() < 0.6:
        x, z = rng.uniform(0.5, width - 0.5), rng.uniform(3.6, 4.4)
        plate = Canvas(paint.plain(rng, tuple(rng.uniform(40, 220, 3)), 96))
        plate.text(0.1, 0.3, 1.4, 1.2, str(rng.choice(SHOP_WORDS)), (245, 245, 240))
        meshes.append(Mesh(box((x, -1.1, z), (x + 0.12, -0.15, z + 0.8)), plate.pixels))
    return meshes


def _sides_and_roof(
    rng: np.random.Generator,
    width: float,
    height: float,
    depth: float,
    material: int,
    colour: Colour,
) -> list[Mesh]:
    """Return gable walls (one may carry a large poster), the back and a sloped or flat roof."""
    shape = paint.metres(height), paint.metres(depth)
    wall = Canvas(_wall(rng, shape, material, colour))
    if rng.random() < 0.5:
        name = paint.PHOTOGRAPHS[rng.integers(5)]
        wall.picture(1.2, height - 4.6, depth - 1.2, height - 0.8, paint.photograph(name))
    w, d, h = width, depth, height
    sides = merged(
        [
            quad([(0, d, 0), (0, 0, 0), (0, 0, h), (0, d, h)]),
            quad([(w, 0, 0), (w, d, 0), (w, d, h), (w, 0, h)]),
            quad([(w, d, 0), (0, d, 0), (0, d, h), (w, d, h)]),
        ]
    )
    ridge = h + (rng.uniform(1.2, 2.6) if rng.random() < 0.6 else 0.05)
    m = d / 2
    roof = merged(
        [
            quad([(0, 0, h), (w, 0, h), (w, m, ridge), (0, m, ridge)]),
            quad([(w, d, h), (0, d, h), (0, m, ridge), (w, m, ridge)]),
            Shape(
                np.array([(0, d, h), (0, 0, h), (0, m, ridge)]),
                np.array([[0, 1, 2]]),
                np.zeros((3, 2)),
            ),
            Shape(
                np.array([(w, 0, h), (w, d, h), (w, m, ridge)]),
                np.array([[0, 1, 2]]),
                np.zeros((3, 2)),
            ),
        ]
    )
    tiles = paint.bricks(
        rng,
        (paint.metres(3), paint.metres(width)),
        (140, 82, 62) if rng.random() < 0.5 else (88, 90, 98),
        (0.3, 0.22),
    )
    return [Mesh(sides, wall.pixels), Mesh(roof, tiles)]
