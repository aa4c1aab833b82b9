"""Scenes to learn depth from: rooms, courtyards, vegetation, streets; geometry before beauty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.mesh import Mesh, Shape, blob, box, quad, tube
from deviloc_ros.simulation.street import Street

STREET_LENGTH = 30.0
# Axes of a camera that looks along x: z forward, x right, y down.
FORWARD = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])


@dataclass(frozen=True)
class Scene:
    """What there is to see, and from where.

    Attributes:
        meshes: metres, z up.
        pose: draws a map_from_camera.
    """

    meshes: list[Mesh]
    pose: Callable[[np.random.Generator], Transform]


def make_scene(kind: str, seed: int) -> Scene:
    """Make a scene of a kind, one of KINDS; the same for the same seed."""
    generator = np.random.default_rng([seed, KINDS.index(kind)])
    return _MAKERS[kind](generator, seed)


def _room(generator: np.random.Generator, _: int) -> Scene:
    """A room seen from inside, with furniture and thin things."""
    size = generator.uniform((3.0, 3.0, 2.3), (12.0, 10.0, 4.5))
    meshes = [_painted(generator, _inside(size))]
    for _ in range(generator.integers(4, 16)):
        low = generator.uniform((0, 0, 0), size * (0.9, 0.9, 0.3))
        extent = generator.uniform((0.2, 0.2, 0.2), (1.8, 1.8, 2.0))
        meshes.append(_painted(generator, box(low, np.minimum(low + extent, size))))
    for _ in range(generator.integers(0, 8)):
        meshes.append(_painted(generator, _stick(generator, (0, 0, 0), size, 0.01, 0.06)))

    def pose(draw: np.random.Generator) -> Transform:
        at = draw.uniform(size * (0.1, 0.1, 0.35), size * (0.9, 0.9, 0.75))
        return _camera(draw, at, float(draw.uniform(0, 2 * np.pi)), 0.3)

    return Scene(meshes, pose)


def _courtyard(generator: np.random.Generator, _: int) -> Scene:
    """Slanted ground, facades with recesses and balconies around it, columns."""
    half = generator.uniform(8.0, 25.0)
    slope = generator.uniform(-0.12, 0.12, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 2 * half
    ground = np.column_stack([corners, corners @ slope])
    meshes = [_painted(generator, quad(ground))]
    for angle in np.arange(4) * np.pi / 2 + generator.uniform(-0.3, 0.3, 4):
        out = np.array([np.cos(angle), np.sin(angle)]) * half * generator.uniform(0.7, 1.1)
        turn = Transform(Rotation.from_euler("z", angle), np.array([*out, 0.0]))
        height, width = generator.uniform(5, 16), generator.uniform(half, 2 * half)
        meshes.append(_painted(generator, box((0, -width / 2, -4), (4, width / 2, height)), turn))
        for _ in range(generator.integers(6, 30)):
            y, z = generator.uniform((-width / 2, 0), (width / 2, height))
            depth = generator.uniform(0.1, 1.5)
            extent = generator.uniform(0.4, 3.0, 2)
            part = box((-depth, y, z), (0.1, y + extent[0], z + extent[1]))
            meshes.append(_painted(generator, part, turn))
    for _ in range(generator.integers(2, 12)):
        x, y = generator.uniform(-half, half, 2) * 0.8
        top = generator.uniform(1.0, 7.0)
        shape = tube((x, y, -3), (x, y, top), generator.uniform(0.03, 0.4))
        meshes.append(_painted(generator, shape))

    def pose(draw: np.random.Generator) -> Transform:
        x, y = draw.uniform(-half, half, 2) * 0.5
        at = np.array([x, y, np.dot((x, y), slope) + draw.uniform(1.2, 2.5)])
        return _camera(draw, at, float(draw.uniform(0, 2 * np.pi)), 0.2)

    return Scene(meshes, pose)


def _vegetation(generator: np.random.Generator, _: int) -> Scene:
    """Uneven ground, crowns, trunks, bushes and twigs."""
    half = 20.0
    slope = generator.uniform(-0.15, 0.15, 2)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 2 * half
    meshes = [_painted(generator, quad(np.column_stack([corners, corners @ slope])))]
    for _ in range(generator.integers(30, 90)):
        x, y = generator.uniform(-half, half, 2)
        ground = float(np.dot((x, y), slope))
        if generator.random() < 0.5:
            height = generator.uniform(1.5, 6.0)
            radius = generator.uniform(0.05, 0.3)
            meshes.append(
                _painted(generator, tube((x, y, ground - 1), (x, y, ground + height), radius))
            )
            centre = (x, y, ground + height + 0.5)
            meshes.append(
                _painted(generator, blob(centre, generator.uniform(0.6, 2.2, 3), generator))
            )
        else:
            radii = generator.uniform(0.3, 1.4, 3)
            meshes.append(_painted(generator, blob((x, y, ground + 0.2), radii, generator)))
    low, high = np.array([-10.0, -10, 0]), np.array([10.0, 10, 4])
    for _ in range(generator.integers(5, 30)):
        meshes.append(_painted(generator, _stick(generator, low, high, 0.01, 0.05)))

    def pose(draw: np.random.Generator) -> Transform:
        x, y = draw.uniform(-half, half, 2) * 0.6
        at = np.array([x, y, np.dot((x, y), slope) + draw.uniform(1.0, 2.2)])
        return _camera(draw, at, float(draw.uniform(0, 2 * np.pi)), 0.15)

    return Scene(meshes, pose)


def _street(_: np.random.Generator, seed: int) -> Scene:
    """The simulated street of the demo, other ones than the demo's."""
    street = Street(seed=1000 + seed, length=STREET_LENGTH)

    def pose(draw: np.random.Generator) -> Transform:
        along, left = float(draw.uniform(0, STREET_LENGTH)), float(draw.uniform(-4, 4))
        base = street.pose(along, left, float(draw.uniform(1.2, 2.2)))
        heading = base.rotation * Rotation.from_euler("z", draw.normal(0, 0.6))
        return Transform(heading * FORWARD, base.translation)

    return Scene(street.meshes(), pose)


_MAKERS: dict[str, Callable[[np.random.Generator, int], Scene]] = {
    "room": _room, "courtyard": _courtyard, "vegetation": _vegetation, "street": _street,
}  # fmt: skip
KINDS = tuple(_MAKERS)


def _camera(
    draw: np.random.Generator, at: NDArray[np.float64], heading: float, tilt: float
) -> Transform:
    turn = Rotation.from_euler("ZYX", [heading, draw.normal(0, tilt), draw.normal(0, 0.05)])
    return Transform(turn * FORWARD, at)


def _painted(generator: np.random.Generator, shape: Shape, moved: Transform | None = None) -> Mesh:
    """Give a shape a picture of random squares on several scales: corners for a detector."""
    texture = np.zeros((128, 128, 3))
    for cells in (4, 16, 64):
        squares = generator.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
        texture += cv2.resize(squares, (128, 128), interpolation=cv2.INTER_NEAREST) / 3
    shape = shape if moved is None else shape.moved(moved)
    return Mesh(shape, texture.astype(np.uint8))


def _inside(size: NDArray[np.float64]) -> Shape:
    """Return a box whose sides are seen from inside."""
    shape = box((0, 0, 0), size)
    floor = quad([(0, 0, 0), (size[0], 0, 0), (size[0], size[1], 0), (0, size[1], 0)])
    return Shape(
        np.concatenate([shape.vertices, floor.vertices]),
        np.concatenate([shape.triangles[:, ::-1], floor.triangles + len(shape.vertices)]),
        np.concatenate([shape.uv, floor.uv]),
    )


def _stick(
    generator: np.random.Generator, low: object, high: object, thin: float, thick: float
) -> Shape:
    """Return a thin tube somewhere in a box, in any direction."""
    ends = generator.uniform(np.asarray(low), np.asarray(high), (2, 3))
    return tube(ends[0], ends[1], generator.uniform(thin, thick), 6)
