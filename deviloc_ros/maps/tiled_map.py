"""A map of several map files in one frame, for places too large for memory.

What retrieval needs of all tiles is in the index file and stays in memory; the tiles are loaded
where the camera is, or where retrieval says it may be. `open_map` opens a map file or such an
index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import TileConfig
from deviloc_ros.errors import DamagedMapError, InputError
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.content import (
    OF_INDEX,
    IndexDescription,
    are_offsets,
    check_arrays,
    check_description,
)
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map, Reference
from deviloc_ros.maps.opened_file import resident_limit
from deviloc_ros.maps.tile_store import TiledArray, TileStore

INDEX_ARRAYS = (
    "reference_offsets", "point_offsets", "feature_offsets", "observation_offsets",
    "global_descriptors", "codebook", "border_pairs", "border_points",
)  # fmt: skip


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


def load_tiled(path: Path, config: TileConfig) -> TiledMap:
    """Open an index of tiles; the tiles are opened when they are needed.

    Raises:
        InputError: not an index, damaged, or a tile is missing or was changed since.
    """
    content = map_file.read(path, kind=map_file.TILES)
    arrays, description = content.arrays, content.description
    check_description(path, IndexDescription, description)
    check_arrays(path, OF_INDEX, arrays, len(description["references"]))
    resident = resident_limit(config.loaded + 1)
    folder = path.resolve().parent  # of the file that a link names, as the tiles' paths are
    try:
        tiles = [
            Tile(
                folder / entry["file"],
                str(entry["id"]),
                np.array(entry["bounds"], dtype=np.float64).reshape(2, 3),
                np.array(entry["origin"], dtype=np.float64).reshape(3),
            )
            for entry in description["tiles"]
        ]
        for tile in tiles:
            _check_tile(path, tile)
        store = TileStore(lambda number: _load_tile(path, tiles[number], resident), config.loaded)
        references = [Reference.from_json(entry) for entry in description["references"]]
        origin = np.array(description["origin"], dtype=np.float64)
        alignable = bool(description.get("alignable", False))
        result = TiledMap(
            references=references,
            origin=origin,
            metric=bool(description["metric"]),
            gravity_aligned=bool(description["gravity_aligned"]),
            calibration=Calibration.from_json(description),
            unregistered=description["unregistered"],
            meta=description["meta"],
            image_size=description["image_size"],
            source=str(path),
            file=content.file,
            tiles=tiles,
            store=store,
            prefetch_distance=config.prefetch_distance,
            tiles_alignable=alignable,
            **{name: arrays[name] for name in INDEX_ARRAYS if name != "point_offsets"},
            **_tiled(store, tiles, arrays, origin, alignable),
        )
    except (KeyError, ValueError, IndexError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: the index is damaged: {error!r}; make it again") from None
    count = len(references)
    if not (
        len(tiles) + 1 == len(result.reference_offsets) == len(arrays["point_offsets"])
        and all(
            are_offsets(offsets)
            for offsets in (
                result.reference_offsets,
                result.feature_offsets,
                result.observation_offsets,
                arrays["point_offsets"],
            )
        )
        and count == result.reference_offsets[-1]
        and result.border_pairs.max(initial=-1) < count
        and _counts_are_those_of_tiles(tiles, arrays)
    ):
        raise InputError(f"{path}: the index is damaged: its arrays do not fit; make it again")
    return result


def _counts_are_those_of_tiles(tiles: Sequence[Tile], arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Return whether the index counts what the tiles hold; arrays are made of its counts."""
    starts = arrays["reference_offsets"]
    counted = {
        "keypoints": arrays["feature_offsets"][starts],
        "observation_points": arrays["observation_offsets"][starts],
        "point_array": arrays["point_offsets"],
        "feature_offsets": starts + np.arange(len(starts)),  # one more than it has references
    }
    held = [map_file.rows(tile.path) for tile in tiles]
    return all(
        np.diff(offsets).tolist() == [rows.get(name) for rows in held]
        for name, offsets in counted.items()
    )


def _tiled(
    store: TileStore,
    tiles: Sequence[Tile],
    arrays: dict[str, NDArray[Any]],
    origin: NDArray[np.float64],
    alignable: bool,
) -> dict[str, Any]:
    """Return the arrays whose rows are in the tiles, of alignable tiles or older ones."""
    starts = arrays["reference_offsets"]
    features, observations = (
        np.asarray(arrays[f"{name}_offsets"])[starts] for name in ("feature", "observation")
    )
    points = np.asarray(arrays["point_offsets"])
    moved = np.array([tile.origin - origin for tile in tiles])

    def array(
        name: str,
        offsets: NDArray[np.int64],
        dtype: type,
        *tail: int,
        shift: NDArray[Any] | None = None,
    ) -> TiledArray:
        return TiledArray(store, name, offsets, shift, np.dtype(dtype), tail)

    size = arrays["codebook"].shape[1]
    return {
        "keypoints": array("keypoints", features, np.float32, 2),
        # Tiles of older programs hold floats.
        "descriptors": replace(array("descriptors", features, np.float16, size), convert=decoded),
        "levels": array("levels", features, np.uint8),
        "confidence": array("confidence", features, np.float16),
        "depth_sigma": array("depth_sigma", features, np.float16) if alignable else None,
        # float64, for float32 cannot hold millimetres some kilometres from the origin.
        "feature_points": array("feature_points", features, np.float64, 3, shift=moved),
        "point_array": array("point_array", points, np.float64, 3, shift=moved),
        "observation_points": array(
            "observation_points", observations, np.int32, shift=points[:-1].astype(np.int32)
        ),
        "observation_pixels": array("observation_pixels", observations, np.float32, 2),
    }


def _check_tile(path: Path, tile: Tile) -> None:
    """Refuse a tile that is not the one of which the index was made; its arrays are not read."""
    if not tile.path.is_file():
        raise InputError(f"{path}: its tile {tile.path} is missing; keep them together")
    try:
        id = map_file.map_id(tile.path)
    except InputError:
        id = "unreadable"
    if id != tile.id:
        raise InputError(
            f"{path}: its tile {tile.path} was changed since; 'deviloc map tile' makes the "
            "index again"
        )


def _load_tile(path: Path, tile: Tile, resident: int) -> Map:
    """Open a tile, which may have changed since the index was opened.

    Raises:
        DamagedMapError: it cannot be used any more.
    """
    try:
        _check_tile(path, tile)
        return Map.load(tile.path, resident=resident)
    except InputError as error:
        raise DamagedMapError(str(error)) from None


def open_map(path: str | Path, tiles: TileConfig | None = None) -> Map:
    """Open a map file or an index of tiles.

    Args:
        path: the file.
        tiles: how many tiles may be in memory.

    Raises:
        InputError: neither, damaged, or of a newer version.
    """
    path = Path(path)
    if map_file.kind_of(path) == map_file.TILES:
        return load_tiled(path, tiles or TileConfig())
    return Map.load(path)
