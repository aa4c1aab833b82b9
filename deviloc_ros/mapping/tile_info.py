"""What the tiles of a map hold, one after the other through memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deviloc_ros.maps.map import Map
from deviloc_ros.maps.tiled_map import TiledMap


def describe_tiles(path: Path, tiled: TiledMap) -> Sequence[dict[str, Any]]:
    """Return what each tile holds as JSON-serialisable values.

    Args:
        path: of the index.
        tiled: opened.

    Raises:
        InputError: a tile cannot be loaded.
    """
    found = []
    for number, tile in enumerate(tiled.tiles):
        part = tiled.store.get(number)
        found.append(
            {
                "file": Path(os.path.relpath(tile.path, path.parent)).as_posix(),
                "id": tile.id,
                "bytes": tile.path.stat().st_size,
                "references": len(part.references),
                "points": len(part.point_array),
                "features": len(part.keypoints),
                "features_with_3d_point": count_lifted(part),
                "camera_positions_min": tile.bounds[0].tolist(),
                "camera_positions_max": tile.bounds[1].tolist(),
            }
        )
    return found


def count_lifted(reference_map: Map) -> int:
    """Return how many features have a 3D point."""
    return int(np.count_nonzero(np.asarray(reference_map.confidence, dtype=np.float32) > 0))


def tile_text(tile: dict[str, Any], unit: str) -> str:
    """Return a tile of `describe_tiles` in one line."""
    sides = np.subtract(tile["camera_positions_max"], tile["camera_positions_min"])
    extent = " x ".join(f"{side:.0f}" for side in sides)
    low = ", ".join(f"{value:.0f}" for value in tile["camera_positions_min"])
    return (
        f"{tile['references']} images, {tile['points']} points, {tile['bytes'] / 1e6:.1f} MB, "
        f"{extent} {unit} from ({low})"
    )
