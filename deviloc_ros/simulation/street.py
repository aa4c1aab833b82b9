"""The street itself: a gently winding centre line, road, sidewalks, houses and what stands there.

Map frame: metres, z up (REP-103); the street leaves the origin along +x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation import furniture, paint
from deviloc_ros.simulation.facade import building
from deviloc_ros.simulation.mesh import Mesh, strip
from deviloc_ros.simulation.paint import Canvas

HALF_ROAD = 5.5
SIDEWALK = 3.0
KERB = 0.14
LANE = 1.75
"""Distance of a lane's middle from the centre line, metres: +LANE is the left one."""
TERRACE_PERIOD = 7.5
"""Width of each house of a terrace, metres."""


@dataclass(frozen=True)
class Street:
    """How a street is made.

    Attributes:
        seed: of everything that stays: houses, trees, signs, road.
        traffic_seed: of what moves between two visits: parked cars.
        length: of the centre line, metres.
        bend: greatest curvature of the centre line, 1/metres.
        evening: lamps and windows are lit.
        terrace: all houses are copies of one, wall to wall: what stands there says little about
            where along the street one is.
    """

    seed: int = 0
    traffic_seed: int = 0
    length: float = 110.0
    bend: float = 0.018
    evening: bool = False
    terrace: bool = False

    def pose(self, along: float, left: float = 0.0, height: float = 0.0) -> Transform:
        """Return map_from_path: x along the street at `along` metres, y left, z up."""
        steps = np.linspace(0.0, along, 200)
        heading = self._heading(steps)
        x = np.trapezoid(np.cos(heading), steps)
        y = np.trapezoid(np.sin(heading), steps)
        rotation = Rotation.from_euler("z", float(heading[-1]))
        return Transform(rotation, np.array([x, y, 0.0]) + rotation.apply([0.0, left, height]))

    def _heading(self, along: NDArray[np.float64]) -> NDArray[np.float64]:
        period = 75.0
        return np.asarray(
            self.bend * period / (2 * np.pi) * (1 - np.cos(2 * np.pi * along / period))
        )

    def meshes(self) -> list[Mesh]:
        """Build everything there is to see, in the map frame; the same every time."""
        fixed = np.random.default_rng([self.seed, 1])
        traffic = np.random.default_rng([self.seed, self.traffic_seed, 2])
        return [
            *self._ground(fixed),
            *self._houses(fixed),
            *self._furniture(fixed),
            *self._parked(traffic),
        ]

    def _line(self, left: float, height: float) -> NDArray[np.float64]:
        return np.array([self.pose(s, left, height).translation for s in self._stations()])

    def _stations(self) -> NDArray[np.float64]:
        return np.arange(-12.0, self.length + 0.1, 1.0)

    def _ground(self, rng: np.random.Generator) -> Iterator[Mesh]:
        stations = self._stations()
        along = (stations - stations[0]) / (stations[-1] - stations[0])
        length = float(stations[-1] - stations[0])
        road = _road(rng, length)
        yield Mesh(strip(self._line(HALF_ROAD, 0), self._line(-HALF_ROAD, 0), along), road)
        outer = HALF_ROAD + SIDEWALK
        for side in (1.0, -1.0):
            inner_edge = self._line(side * HALF_ROAD, KERB)
            outer_edge = self._line(side * (outer + 3.0), KERB)
            low_edge = self._line(side * HALF_ROAD, 0)
            slabs = paint.paving(rng, (paint.metres(SIDEWALK + 3), paint.metres(length)))
            stone = paint.bricks(
                rng, (paint.metres(0.2), paint.metres(length)), (172, 170, 164), (1.0, 1.0)
            )
            edges = (outer_edge, inner_edge) if side > 0 else (inner_edge, outer_edge)
            yield Mesh(strip(*edges, along), slabs)
            kerb = (inner_edge, low_edge) if side > 0 else (low_edge, inner_edge)
            yield Mesh(strip(*kerb, along), stone)

    def _houses(self, rng: np.random.Generator) -> Iterator[Mesh]:
        if self.terrace:
            yield from self._terrace()
            return
        for side in (1.0, -1.0):
            along = -12.0
            while along < self.length:
                width = rng.uniform(8.0, 13.0)
                height, depth = rng.uniform(7.0, 13.5), rng.uniform(7.0, 9.0)
                gap = rng.uniform(1.5, 4.0) if rng.random() < 0.25 else 0.0
                setback = rng.uniform(0.3, 1.5)
                middle = self.pose(along + width / 2, side * (HALF_ROAD + SIDEWALK + setback), KERB)
                yield from self._house(
                    rng, middle, 0.0 if side > 0 else np.pi, width, height, depth
                )
                along += width + gap
        for along, turn in ((-13.0, np.pi / 2), (self.length + 1.0, -np.pi / 2)):
            for left in (-11.0, 0.0, 11.0):
                end = self.pose(along, left)
                yield from self._house(rng, end, turn, 11.0, rng.uniform(8, 13), 8.0)

    def _terrace(self) -> Iterator[Mesh]:
        """Return one house over and over again, on either side another."""
        for number, side in enumerate((1.0, -1.0)):
            for along in np.arange(-12.0, self.length, TERRACE_PERIOD):
                left = side * (HALF_ROAD + SIDEWALK + 0.8)
                middle = self.pose(along + TERRACE_PERIOD / 2, left, KERB)
                same = np.random.default_rng([self.seed, 3, number])
                turn = 0.0 if side > 0 else np.pi
                yield from self._house(same, middle, turn, TERRACE_PERIOD, 10.0, 8.0)

    def _house(
        self,
        rng: np.random.Generator,
        map_from_front: Transform,
        turn: float,
        width: float,
        height: float,
        depth: float,
    ) -> Iterator[Mesh]:
        corner = Transform(Rotation.from_euler("z", turn), np.zeros(3)) @ Transform(
            Rotation.identity(), np.array([-width / 2, 0.0, 0.0])
        )
        for mesh in building(rng, width, height, depth, self.evening):
            yield mesh.moved(map_from_front @ corner)

    def _furniture(self, rng: np.random.Generator) -> Iterator[Mesh]:
        edge = HALF_ROAD + 0.6
        for side in (1.0, -1.0):
            for along in np.arange(-4.0, self.length - 4, 6.5):
                kind = rng.random()
                place = self.pose(along + rng.uniform(-1.5, 1.5), side * edge, KERB)
                turned = place @ Transform(
                    Rotation.from_euler("z", 0.0 if side < 0 else np.pi), np.zeros(3)
                )
                if kind < 0.4:
                    meshes = furniture.tree(rng)
                elif kind < 0.6:
                    meshes = furniture.lamp(rng, self.evening)
                elif kind < 0.8:
                    meshes, turned = furniture.sign(rng), place
                else:
                    meshes = furniture.cabinet(rng)
                for mesh in meshes:
                    yield mesh.moved(turned)

    def _parked(self, rng: np.random.Generator) -> Iterator[Mesh]:
        for side in (1.0, -1.0):
            along = -6.0
            while along < self.length - 6:
                along += rng.uniform(5.6, 8.0)
                place = self.pose(along, side * (HALF_ROAD - 1.1 + rng.uniform(-0.12, 0.12)))
                turn = Transform(Rotation.from_euler("z", rng.normal(0, 0.03)), np.zeros(3))
                present = rng.random() < 0.5
                for mesh in furniture.car(rng):
                    if present:
                        yield mesh.moved(place @ turn)


def _road(rng: np.random.Generator, length: float) -> NDArray[np.uint8]:
    """Paint the road from its left edge (bottom of the canvas is the right edge)."""
    width = 2 * HALF_ROAD
    canvas = Canvas(paint.asphalt(rng, (paint.metres(width), paint.metres(length))))
    white = (212.0, 212.0, 205.0)
    for x in np.arange(0.0, length, 6.0):
        canvas.fill(x, HALF_ROAD - 0.07, x + 3.0, HALF_ROAD + 0.07, white)
    for edge in (2.05, width - 2.05):
        for x in np.arange(0.0, length, 1.0):
            canvas.fill(x, edge - 0.05, x + rng.uniform(0.8, 1.0), edge + 0.05, white)
    for x in np.arange(rng.uniform(26, 30), length, 42.0):
        for z in np.arange(2.3, width - 2.4, 1.0):
            canvas.fill(x, z, x + 3.0, z + 0.5, white)
    for _ in range(int(length / 9)):
        x, z = rng.uniform(0, length - 1), rng.uniform(2.5, width - 3.2)
        canvas.picture(x, z, x + 0.65, z + 0.65, _manhole(rng))
    wear = 1 - 0.12 * np.clip(paint.rough(rng, canvas.pixels.shape[:2]), 0, 2)
    return np.asarray((canvas.pixels * wear[..., None]).clip(0, 255), dtype=np.uint8)


def _manhole(rng: np.random.Generator) -> NDArray[np.uint8]:
    cover = paint.bricks(rng, (42, 42), (70, 68, 66), (0.1, 0.1))
    cover[:3] = cover[-3:] = cover[:, :3] = cover[:, -3:] = 45
    return cover
