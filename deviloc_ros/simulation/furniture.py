"""What stands along a street: cars, trees, lamps, signs and boxes, each in its own frame.

Object frame: x along the street, y to the left, z up, origin on the ground below the middle.
"""

from __future__ import annotations

import cv2
import numpy as np

from deviloc_ros.simulation import paint
from deviloc_ros.simulation.mesh import Mesh, Shape, blob, box, merged, quad, tube
from deviloc_ros.simulation.paint import Canvas, Colour

CAR_COLOURS: tuple[Colour, ...] = (
    (170, 30, 30),
    (225, 225, 228),
    (40, 60, 120),
    (30, 32, 36),
    (120, 125, 130),
    (40, 95, 70),
    (215, 170, 40),
)


def car(rng: np.random.Generator) -> list[Mesh]:
    """A parked car, or a van: a side view that is given a width, with painted glass and wheels."""
    van = bool(rng.random() < 0.25)
    length, height, width = (5.0, 2.15, 1.95) if van else (rng.uniform(3.8, 4.6), 1.45, 1.75)
    colour = CAR_COLOURS[rng.integers(len(CAR_COLOURS))]
    bonnet = 0.12 if van else 0.27
    rear = 0.02 if van else 0.12
    outline = np.array(
        [
            (0.0, 0.30),
            (1.0, 0.30),
            (1.0, 0.85),
            (1 - bonnet + 0.02, 0.98),
            (1 - bonnet - 0.13, height),
            (rear + 0.08, height),
            (rear, 0.95),
            (0.0, 0.88),
        ]
    ) * (length, 1.0)
    outline[:, 0] -= length / 2
    side = Canvas(paint.stucco(rng, (paint.metres(height), paint.metres(length)), colour))
    half = length / 2
    glass = np.array(
        [
            (outline[3, 0] - 0.15, 1.0),
            (outline[4, 0] - 0.06, height - 0.13),
            (outline[5, 0] + 0.06, height - 0.13),
            (outline[6, 0] + 0.15, 1.0),
        ]
    )
    pixels = np.stack(
        [
            (glass[:, 0] + half) * paint.PIXELS_PER_METRE,
            (height - glass[:, 1]) * paint.PIXELS_PER_METRE,
        ],
        1,
    )
    cv2.fillPoly(side.pixels, [pixels.astype(np.int32)], (38, 44, 52), cv2.LINE_AA)
    for x in np.linspace(0.3, 0.62, 2) * length:
        side.fill(x, 0.35, x + 0.02, height - 0.1, (20, 20, 22))
        side.fill(x + 0.1, 0.84, x + 0.26, 0.88, (200, 200, 200))
    meshes = [Mesh(merged([_car_side(outline, width, height, s) for s in (-1, 1)]), side.pixels)]
    meshes.append(Mesh(_car_skin(outline, width), _skin_picture(rng, outline, colour)))
    wheels = [
        tube((x, s * (width / 2 - 0.15), 0.32), (x, s * (width / 2 + 0.02), 0.32), 0.32, 16)
        for x in (-0.31 * length, 0.31 * length)
        for s in (-1, 1)
    ]
    meshes.append(Mesh(merged(wheels), paint.plain(rng, (34, 34, 36))))
    hubs = [
        tube((x, s * (width / 2 + 0.02), 0.32), (x, s * (width / 2 + 0.03), 0.32), 0.19, 12)
        for x in (-0.31 * length, 0.31 * length)
        for s in (-1, 1)
    ]
    meshes.append(Mesh(merged(hubs), paint.plain(rng, (165, 168, 172))))
    return meshes


def _car_side(outline: np.ndarray, width: float, height: float, side: int) -> Shape:
    """Fan out the outline on one side of the car."""
    count = len(outline)
    y = side * width / 2
    vertices = np.column_stack([outline[:, 0], np.full(count, y), outline[:, 1]])
    length = outline[1, 0] - outline[0, 0]
    uv = np.column_stack([(outline[:, 0] - outline[0, 0]) / length, 1 - outline[:, 1] / height])
    middle = np.array([[0.0, y, 0.7]])
    vertices = np.concatenate([vertices, middle])
    uv = np.concatenate([uv, [[0.5, 1 - 0.7 / height]]])
    at = np.arange(count)
    order = (at, (at + 1) % count) if side < 0 else ((at + 1) % count, at)
    return Shape(vertices, np.stack([*order, np.full(count, count)], 1), uv)


def _car_skin(outline: np.ndarray, width: float) -> Shape:
    """Join the two sides from the front bumper over the roof to the rear."""
    path = outline[1:]
    v = np.linspace(0, 1, len(path) + 1)
    path = np.concatenate([path, outline[:1]])
    quads = []
    for i in range(len(path) - 1):
        (xa, za), (xb, zb) = path[i], path[i + 1]
        corners = [
            (xa, -width / 2, za),
            (xa, width / 2, za),
            (xb, width / 2, zb),
            (xb, -width / 2, zb),
        ]
        quads.append(quad(corners, [(0, v[i]), (1, v[i]), (1, v[i + 1]), (0, v[i + 1])]))
    return merged(quads)


def _skin_picture(rng: np.random.Generator, outline: np.ndarray, colour: Colour) -> np.ndarray:
    """Paint bumper, bonnet, windscreen, roof, rear window and rear in bands."""
    bands = len(outline)
    size = 28
    picture = paint.stucco(rng, (bands * size, 112), colour)
    for band in (2, 4):
        picture[band * size + 2 : (band + 1) * size - 2, 8:-8] = (40, 46, 55)
    for band, lamp in ((0, (240, 240, 225)), (6, (190, 25, 20))):
        picture[band * size + 8 : band * size + 16, 6:26] = lamp
        picture[band * size + 8 : band * size + 16, -26:-6] = lamp
        picture[band * size + 16 : band * size + 23, 36:76] = (235, 235, 225)
        text = f"{chr(65 + rng.integers(26))} {rng.integers(100, 999)}"
        plate = np.ascontiguousarray(picture[band * size + 15 : band * size + 24, 36:76])
        cv2.putText(plate, text, (3, 8), cv2.FONT_HERSHEY_PLAIN, 0.6, (20, 20, 20), 1, cv2.LINE_AA)
        picture[band * size + 15 : band * size + 24, 36:76] = plate
    return picture


def tree(rng: np.random.Generator) -> list[Mesh]:
    """A street tree: a trunk and a crown of lumps."""
    height = rng.uniform(2.2, 3.0)
    trunk = tube((0, 0, 0), (rng.normal(0, 0.1), rng.normal(0, 0.1), height + 0.6), 0.14)
    bark = paint.bricks(rng, (96, 96), (92, 74, 58), (0.12, 0.5))
    crown = [
        blob(
            (rng.normal(0, 0.55), rng.normal(0, 0.55), height + rng.uniform(0.3, 1.9)),
            rng.uniform(0.6, 1.15, 3),
            rng,
        )
        for _ in range(7)
    ]
    green: Colour = (rng.uniform(70, 115), rng.uniform(105, 140), rng.uniform(45, 70))
    return [Mesh(trunk, bark), Mesh(merged(crown), paint.leaves(rng, green))]


def lamp(rng: np.random.Generator, lit: bool) -> list[Mesh]:
    """A street lamp that reaches over the road (towards +y)."""
    grey = paint.plain(rng, (105, 110, 112))
    post = merged([tube((0, 0, 0), (0, 0, 5.2), 0.07), tube((0, 0, 5.2), (0, 1.3, 5.5), 0.045)])
    head = box((-0.15, 1.2, 5.38), (0.15, 1.75, 5.52))
    glow: Colour = (255, 225, 160) if lit else (190, 190, 185)
    return [Mesh(post, grey), Mesh(head, paint.plain(rng, glow, 8), lit=not lit)]


def sign(rng: np.random.Generator) -> list[Mesh]:
    """A traffic sign that faces traffic coming along +x."""
    picture = np.full((96, 96, 3), 250, np.uint8)
    kind = rng.integers(4)
    if kind == 0:
        cv2.circle(picture, (48, 48), 46, (190, 20, 25), 10, cv2.LINE_AA)
        number = str(rng.choice([20, 30, 40, 50]))
        cv2.putText(picture, number, (20, 62), cv2.FONT_HERSHEY_DUPLEX, 1.4, (10, 10, 10), 3)
    elif kind == 1:
        picture[:] = (20, 60, 160)
        cv2.putText(picture, "P", (26, 74), cv2.FONT_HERSHEY_DUPLEX, 2.4, (250, 250, 250), 5)
    elif kind == 2:
        picture[:] = (20, 60, 160)
        cv2.arrowedLine(picture, (48, 84), (48, 14), (250, 250, 250), 12, cv2.LINE_AA, 0, 0.4)
    else:
        triangle = np.array([(48, 6), (92, 88), (4, 88)])
        cv2.polylines(picture, [triangle], True, (190, 20, 25), 10, cv2.LINE_AA)
        cv2.line(picture, (48, 36), (48, 66), (10, 10, 10), 8)
    y, z = 0.35, rng.uniform(2.2, 2.6)
    plate = [(-0.05, y, z), (-0.05, -y, z), (-0.05, -y, z + 0.7), (-0.05, y, z + 0.7)]
    post = tube((0, 0, 0), (0, 0, z + 0.7), 0.035)
    back = [plate[1], plate[0], plate[3], plate[2]]
    return [
        Mesh(merged([post, quad(back)]), paint.plain(rng, (128, 130, 132))),
        Mesh(quad([(-0.06, *corner[1:]) for corner in plate]), picture),
    ]


def cabinet(rng: np.random.Generator) -> list[Mesh]:
    """A switch cabinet with a poster, or a bin."""
    if rng.random() < 0.4:
        texture = paint.bricks(rng, (64, 128), tuple(rng.uniform(40, 120, 3)), (0.1, 1.2))
        return [Mesh(tube((0, 0, 0), (0, 0, 0.95), 0.26), texture)]
    size = rng.uniform((0.7, 0.4, 1.0), (1.3, 0.5, 1.5))
    canvas = Canvas(paint.stucco(rng, (96, 96), (120, 132, 118)))
    picture = paint.photograph(paint.PHOTOGRAPHS[rng.integers(len(paint.PHOTOGRAPHS))])
    canvas.picture(0.25, 0.4, 1.25, 1.4, picture)
    return [
        Mesh(
            box((-size[0] / 2, -size[1] / 2, 0), (size[0] / 2, size[1] / 2, size[2])), canvas.pixels
        )
    ]
