"""A map of several map files in one frame, for places too large for memory.

What retrieval needs of all tiles is in the index file and stays in memory; the tiles are loaded
where the camera is, or where retrieval says it may be. `open_map` opens a map file or such an
index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import InputError
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.tile_store import TileStore


@dataclass(frozen=True)
class Tile:
    """One tile, as the index knows it.

    Attributes:
        path: its map file.
        id: of its content, see `map_file.map_id`.
        bounds: (2, 3) float64, least and largest camera position, map frame.
        origin: (3,) float64, that its positions are relative to.
    """

    path: Path
    id: str
    bounds: NDArray[np.float64]
    origin: NDArray[np.float64]

    def distance(self, position: NDArray[np.float64]) -> float:
        """Return how far a position is from the cameras' bounding box, map units."""
        return float(
            np.linalg.norm(np.maximum(0, np.maximum(self.bounds[0] - position,
                                                    position - self.bounds[1])))
        )  # fmt: skip


@dataclass(frozen=True)
class TiledMap(Map):
    """A map whose arrays of features, points and observations are read from tiles.

    Those arrays are `TiledArray`, not numpy's; what uses them indexes rows. References, offsets
    and global descriptors are those of all tiles, one tile after the other.

    Attributes:
        tiles: of the index.
        store: those in memory.
        reference_offsets: (T + 1,) int64, the first reference of each tile.
        border_pairs: (E, 2) int32, references of different tiles that see the same part of the
            place, lower index first.
        border_points: (E,) int32, how many SfM points both could see.
        prefetch_distance: tiles so near are fetched ahead, map units.
        tiles_alignable: whether the tiles hold what it takes to align matches.
    """

    tiles: Sequence[Tile] = ()
    store: TileStore = field(default=cast(Any, None))
    reference_offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    border_pairs: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    border_points: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    prefetch_distance: float = 0.0
    tiles_alignable: bool = False

    @property
    def alignable(self) -> bool:
        """Whether the tiles hold what it takes to align matches."""
        return self.tiles_alignable

    def approach(self, position: NDArray[np.float64]) -> None:
        """Fetch the tiles around a position (3,), nearest first, in the background."""
        distances = [tile.distance(position) for tile in self.tiles]
        order = np.argsort(distances, kind="stable").tolist()
        self.store.prefetch([i for i in order if distances[i] <= self.prefetch_distance])

    def tile_of(self, references: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the tile of each reference."""
        return np.searchsorted(self.reference_offsets, references, side="right") - 1

    def shared_points(self, references: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return how many SfM points each two references share (K, K).

        Tiles have points of their own, so across a border it is the number that both could see.
        """
        shared = np.zeros((len(references), len(references)), dtype=np.int32)
        tile_of = self.tile_of(references)
        for number in np.unique(tile_of).tolist():
            here = np.flatnonzero(tile_of == number)
            local = references[here] - self.reference_offsets[number]
            shared[np.ix_(here, here)] = self.store.get(number).shared_points(local)
        place = {int(reference): i for i, reference in enumerate(references)}
        both = np.isin(self.border_pairs, references).all(axis=1)
        for (a, b), count in zip(self.border_pairs[both], self.border_points[both], strict=True):
            i, j = place[int(a)], place[int(b)]
            shared[i, j] = shared[j, i] = count
        return shared

    def shared_points_with(self, reference: int) -> NDArray[np.int32]:
        """Return how many SfM points each reference shares with the given one: (R,)."""
        number = int(self.tile_of(np.array([reference]))[0])
        begin, end = self.reference_offsets[number : number + 2]
        shared = np.zeros(len(self.references), dtype=np.int32)
        shared[begin:end] = self.store.get(number).shared_points_with(reference - int(begin))
        for (a, b), count in zip(self.border_pairs, self.border_points, strict=True):
            if reference in (a, b):
                shared[b if reference == a else a] = count
        return shared

    def image_of(self, reference: int) -> NDArray[np.uint8]:
        """Return a reference's reduced image (H, W), gray.

        Raises:
            InputError: the tile holds no images, or this one is damaged.
        """
        number = int(self.tile_of(np.array([reference]))[0])
        return self.store.get(number).image_of(reference - int(self.reference_offsets[number]))

    def save(self, path: Path) -> None:
        """Refuse: an index is written by `tile_index.write_index`, tiles by themselves.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.source}: is made of tiles; change the tiles and make it again")
