"""Textured triangle meshes and the few solids a street is made of. No renderer here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deviloc_ros.geometry.transform import Transform

Texture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shape:
    """A surface without its picture.

    Attributes:
        vertices: (N, 3) float64, metres.
        triangles: (M, 3) int64, counter-clockwise seen from outside.
        uv: (N, 2) float64, texture coordinates: u to the right, v down, both 0 to 1.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.int64]
    uv: NDArray[np.float64]

    def moved(self, target_from_source: Transform) -> Shape:
        """Return the same surface in another frame."""
        return Shape(target_from_source.apply(self.vertices), self.triangles, self.uv)


@dataclass(frozen=True)
class Mesh:
    """A surface and its picture.

    Attributes:
        shape: where it is.
        texture: (H, W, 3) uint8 RGB.
        lit: whether light changes it; the sky and lamps shine by themselves.
    """

    shape: Shape
    texture: Texture
    lit: bool = True

    def moved(self, target_from_source: Transform) -> Mesh:
        """Return the same mesh in another frame."""
        return Mesh(self.shape.moved(target_from_source), self.texture, self.lit)


def merged(shapes: Sequence[Shape]) -> Shape:
    """Join surfaces that share one texture."""
    starts = np.cumsum([0] + [len(shape.vertices) for shape in shapes[:-1]])
    return Shape(
        np.concatenate([shape.vertices for shape in shapes]),
        np.concatenate([shape.triangles + at for shape, at in zip(shapes, starts, strict=True)]),
        np.concatenate([shape.uv for shape in shapes]),
    )


def quad(corners: ArrayLike, uv: ArrayLike = ((0, 1), (1, 1), (1, 0), (0, 0))) -> Shape:
    """Return a quadrilateral from its corners (4, 3), counter-clockwise from the lower left."""
    return Shape(
        np.asarray(corners, dtype=np.float64),
        np.array([[0, 1, 2], [0, 2, 3]]),
        np.asarray(uv, dtype=np.float64),
    )


def box(low: ArrayLike, high: ArrayLike) -> Shape:
    """Return an axis-aligned box; every side but the bottom shows the whole texture."""
    (x0, y0, z0), (x1, y1, z1) = np.asarray(low, float), np.asarray(high, float)
    return merged(
        [
            quad([(x0, y0, z0), (x1, y0, z0), (x1, y0, z1), (x0, y0, z1)]),
            quad([(x1, y1, z0), (x0, y1, z0), (x0, y1, z1), (x1, y1, z1)]),
            quad([(x1, y0, z0), (x1, y1, z0), (x1, y1, z1), (x1, y0, z1)]),
            quad([(x0, y1, z0), (x0, y0, z0), (x0, y0, z1), (x0, y1, z1)]),
            quad([(x0, y0, z1), (x1, y0, z1), (x1, y1, z1), (x0, y1, z1)]),
        ]
    )


def tube(base: ArrayLike, top: ArrayLike, radius: float, sides: int = 12) -> Shape:
    """Return a cylinder's side and its end caps between two points."""
    base, top = np.asarray(base, float), np.asarray(top, float)
    axis = (top - base) / np.linalg.norm(top - base)
    across = np.cross(axis, [1.0, 0, 0] if abs(axis[0]) < 0.9 else [0, 1.0, 0])
    across /= np.linalg.norm(across)
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.outer(np.cos(angles), across) + np.outer(np.sin(angles), np.cross(axis, across))
    vertices = np.concatenate([base + radius * ring, top + radius * ring, [base, top]])
    lower = np.arange(sides)
    upper = lower + sides + 1
    first, last = 2 * (sides + 1), 2 * (sides + 1) + 1
    triangles = np.concatenate(
        [
            np.stack([lower, lower + 1, upper + 1], 1),
            np.stack([lower, upper + 1, upper], 1),
            np.stack([lower + 1, lower, np.full(sides, first)], 1),
            np.stack([upper, upper + 1, np.full(sides, last)], 1),
        ]
    )
    around = np.linspace(0, 1, sides + 1)
    uv = np.concatenate(
        [
            np.stack([around, np.ones_like(around)], 1),
            np.stack([around, np.zeros_like(around)], 1),
            [[0.5, 1], [0.5, 0]],
        ]
    )
    return Shape(vertices, triangles, uv)


def blob(centre: ArrayLike, radii: ArrayLike, rng: np.random.Generator, rings: int = 9) -> Shape:
    """Return a lumpy ellipsoid, as the crown of a tree."""
    sides = 2 * rings
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    longitude = np.linspace(0, 2 * np.pi, sides + 1)
    lumps = 1 + 0.14 * rng.standard_normal((rings + 1, sides + 1))
    lumps[:, -1] = lumps[:, 0]
    lumps[[0, -1]] = 1
    x = np.cos(latitude)[:, None] * np.cos(longitude) * lumps
    y = np.cos(latitude)[:, None] * np.sin(longitude) * lumps
    z = np.sin(latitude)[:, None] * np.ones_like(longitude) * lumps
    vertices = np.stack([x, y, z], -1).reshape(-1, 3) * np.asarray(radii) + np.asarray(centre)
    at = np.arange(rings)[:, None] * (sides + 1) + np.arange(sides)
    a, b, c, d = at, at + 1, at + sides + 2, at + sides + 1
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    u, v = np.meshgrid(np.linspace(0, 1, sides + 1), np.linspace(1, 0, rings + 1))
    return Shape(vertices, triangles, np.stack([u, v], -1).reshape(-1, 2))


def strip(left: ArrayLike, right: ArrayLike, along: ArrayLike) -> Shape:
    """Return a band between two lines of points (N, 3); texture u runs with `along` (N,)."""
    left, right = np.asarray(left, float), np.asarray(right, float)
    u = np.asarray(along, float)
    n = len(left)
    at = np.arange(n - 1)
    triangles = np.concatenate(
        [np.stack([at, at + n, at + n + 1], 1), np.stack([at, at + n + 1, at + 1], 1)]
    )
    uv = np.concatenate([np.stack([u, np.zeros(n)], 1), np.stack([u, np.ones(n)], 1)])
    return Shape(np.concatenate([left, right]), triangles, uv)
