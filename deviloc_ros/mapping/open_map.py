"""Opens whatever a map may be: one file, or an index of tiles."""

from __future__ import annotations

from pathlib import Path

from deviloc_ros.config import TileConfig
from deviloc_ros.maps import map_file
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.tiled_map import load_tiled


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
