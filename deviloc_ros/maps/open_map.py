"""Opens a map file, or an index of tiles with the tiles that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.opened_file import resident_limit
from deviloc_ros.maps.reference import Reference
from deviloc_ros.maps.tile_store import TiledArray, TileStore
from deviloc_ros.maps.tiled_map import Tile, TiledMap

INDEX_ARRAYS = (
    "reference_offsets", "point_offsets", "feature_offsets", "observation_offsets",
    "global_descriptors", "codebook", "border_pairs", "border_points",
)  # fmt: skip


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
