"""Makes one map of several: an index of map files that share a frame."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros import __version__
from deviloc_ros.errors import InputError
from deviloc_ros.localization.retrieval import describe, make_codebook
from deviloc_ros.localization.types import Features
from deviloc_ros.mapping.tile_borders import border
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map

CODEBOOK_SAMPLES = 60_000
MAX_TILES = 10_000


def write_index(output: Path, tiles: Sequence[Path], seed: int = 0) -> None:
    """Write the index of tiles, which stay where they are.

    Global descriptors are made anew, over words of all tiles: those of a tile hold within it only.

    Args:
        output: the index; it names the tiles relative to its folder.
        tiles: map files, in the order in which their references will be counted.
        seed: of the codebook.

    Raises:
        InputError: a tile cannot be used, or tiles do not go together.
    """
    if not 1 <= len(tiles) <= MAX_TILES:
        raise InputError(f"{output}: {len(tiles)} tiles; there must be 1 to {MAX_TILES}")
    if len({path.resolve() for path in tiles}) < len(tiles):
        raise InputError(f"{output}: a tile is given twice")
    maps = [Map.load(path) for path in tqdm(tiles, desc="opening tiles", disable=None)]
    for path, tile in zip(tiles, maps, strict=True):
        _check_fits(tiles[0], maps[0], path, tile)
    codebook = make_codebook(_sample(maps, seed), seed)
    words = torch.from_numpy(codebook)
    descriptors = [
        describe(_features(tile, index), words).numpy().astype(np.float16)
        for tile in tqdm(maps, desc="describing", unit="tile", disable=None)
        for index in range(len(tile.references))
    ]
    counts = [len(tile.references) for tile in maps]
    starts = _offsets(counts)
    pairs, points = border(maps, starts)
    arrays: dict[str, NDArray[Any]] = {
        "reference_offsets": starts,
        "point_offsets": _offsets([len(tile.point_array) for tile in maps]),
        "feature_offsets": _joined([tile.feature_offsets for tile in maps]),
        "observation_offsets": _joined([tile.observation_offsets for tile in maps]),
        "global_descriptors": np.stack(descriptors),
        "codebook": codebook,
        "border_pairs": pairs,
        "border_points": points,
    }
    folder = output.absolute().parent
    description = {
        "references": [item.to_json() for tile in maps for item in tile.references],
        "tiles": [
            {
                "file": Path(os.path.relpath(path.absolute(), folder)).as_posix(),
                "id": map_file.map_id(path),
                "bounds": tile.bounds.tolist(),
                "origin": tile.origin.tolist(),
            }
            for path, tile in zip(tiles, maps, strict=True)
        ],
        "origin": np.round(np.mean([tile.origin for tile in maps], axis=0)).tolist(),
        "metric": maps[0].metric,
        "gravity_aligned": maps[0].gravity_aligned,
        **_together([tile.calibration for tile in maps], counts).to_json(),
        "unregistered": {
            name: reason for tile in maps for name, reason in tile.unregistered.items()
        },
        "meta": {"program": f"deviloc_ros {__version__}", "tiles": len(maps)},
        "image_size": maps[0].image_size,
        "alignable": maps[0].alignable,
    }
    map_file.write(output, arrays, description, map_file.TILES)


def tiles_folder(index: Path) -> Path:
    """Return the folder for tiles that are made for an index: beside it, "city.tiles" of "city".

    Raises:
        InputError: it cannot be made.
    """
    folder = index.with_suffix(".tiles")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def _check_fits(first_path: Path, first: Map, path: Path, tile: Map) -> None:
    """Refuse a tile that is of another kind than the first one."""
    for name, ours, theirs in (
        ("metric", tile.metric, first.metric),
        ("z up", tile.gravity_aligned, first.gravity_aligned),
        ("reference images to align with", tile.alignable, first.alignable),
        ("images for matcher topicfm", tile.image_size, first.image_size),
        ("length of descriptors", tile.descriptors.shape[1], first.descriptors.shape[1]),
        ("feature settings", tile.meta.get("features"), first.meta.get("features")),
    ):
        if ours != theirs:
            raise InputError(
                f"{path}: {name}: {ours}, but {theirs} in {first_path}; tiles must be made and "
                "aligned alike"
            )


def _sample(maps: Sequence[Map], seed: int) -> NDArray[np.float32]:
    """Return descriptors of all tiles, a bounded number of them."""
    each = max(1, CODEBOOK_SAMPLES // len(maps))
    generator = np.random.default_rng(seed)
    parts = []
    for tile in maps:
        count = len(tile.descriptors)
        rows = np.sort(generator.choice(count, min(each, count), replace=False))
        parts.append(tile.descriptors[rows].astype(np.float32))
    return np.concatenate(parts)


def _features(tile: Map, index: int) -> Features:
    """Return what a global descriptor is made of."""
    rows = tile.features_of(index)
    descriptors = torch.from_numpy(np.array(tile.descriptors[rows])).float()
    empty = torch.zeros(0)
    return Features(empty, descriptors, empty, empty)


def _together(calibrations: Sequence[Calibration], counts: Sequence[int]) -> Calibration:
    """Return one calibration: the mean bias, and covariances that no tile's are larger than."""
    bias, pull = (
        np.average([getattr(item, key) for item in calibrations], axis=0, weights=counts)
        for key in ("offset_bias", "offset_pull")
    )
    return replace(
        calibrations[0],
        offset_bias=bias,
        offset_pull=pull,
        covariance_scale=max(item.covariance_scale for item in calibrations),
        topicfm_covariance_scale=max(item.topicfm_covariance_scale for item in calibrations),
        aligned_shared_error=max(item.aligned_shared_error for item in calibrations),
    )


def _offsets(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return offsets of one tile after the other."""
    return _offsets(np.concatenate([np.diff(part) for part in parts]).tolist())
