"""Makes one map of several: an index of map files in one frame, and what they see together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from tqdm import tqdm

from deviloc_ros import __version__
from deviloc_ros.errors import InputError
from deviloc_ros.localization.retrieval.global_descriptor import (
    describe_reference,
    make_codebook,
    sample_descriptors,
)
from deviloc_ros.mapping.alike import check_alike
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map, offsets_of

# Cameras of different tiles so far apart, map units, are not asked what both could see.
BORDER_REACH = 30.0
BORDER_SAMPLES = 400


def border(
    maps: Sequence[Map], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return which references of different tiles see the same part of the place, and how much.

    Tiles have no points in common. Two references belong together where many of the points that
    one observes fall into the other's image, and the other way round; walls are not looked at.
    """
    centres = [tile.viewpoints[0] for tile in maps]
    pairs, counts = [], []
    for a, b in neighbours(maps):
        near = cKDTree(centres[a]).query_ball_tree(cKDTree(centres[b]), BORDER_REACH)
        for i, others in enumerate(near):
            for j in others:
                count = min(_visible(maps[a], i, maps[b], j), _visible(maps[b], j, maps[a], i))
                if count:
                    pairs.append((int(starts[a]) + i, int(starts[b]) + j))
                    counts.append(count)
    return np.array(pairs, dtype=np.int32).reshape(-1, 2), np.array(counts, dtype=np.int32)


def neighbours(maps: Sequence[Map]) -> Iterator[tuple[int, int]]:
    """Yield the tiles whose cameras may be near each other."""
    bounds = [tile.bounds for tile in maps]
    for a in range(len(maps)):
        for b in range(a + 1, len(maps)):
            apart = np.maximum(bounds[a][0] - bounds[b][1], bounds[b][0] - bounds[a][1])
            if np.linalg.norm(np.maximum(apart, 0)) <= BORDER_REACH:
                yield a, b


def _visible(tile: Map, reference: int, other: Map, viewer: int) -> int:
    """Return how many points that a reference observes fall into the image of another's."""
    seen = np.asarray(tile.observation_points[tile.observations_of(reference)])
    share = max(1, len(seen) // BORDER_SAMPLES)
    points = tile.point_array[seen[::share]].astype(np.float64) + tile.origin
    view = other.references[viewer]
    facing = tile.references[reference].camera_from_map @ view.camera_from_map.inverse()
    if facing.rotation.as_matrix()[2, 2] <= 0.5:  # more than 60 deg apart
        return 0
    pixels = view.camera.project(view.camera_from_map.apply(points))
    inside = (pixels >= 0).all(axis=1) & (pixels < (view.camera.width, view.camera.height)).all(1)
    return int(inside.sum()) * share


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
    maps = [Map.load(path, resident=0) for path in tqdm(tiles, desc="opening tiles", disable=None)]
    for tile in maps:
        check_alike(maps[0], tile, True, "tiles must be made and aligned alike")
    codebook = make_codebook(sample_descriptors([tile.descriptors for tile in maps], seed), seed)
    words = torch.from_numpy(codebook)
    descriptors = [
        describe_reference(tile, index, words)
        for tile in tqdm(maps, desc="describing", unit="tile", disable=None)
        for index in range(len(tile.references))
    ]
    counts = [len(tile.references) for tile in maps]
    starts = offsets_of(counts)
    pairs, points = border(maps, starts)
    arrays: dict[str, NDArray[Any]] = {
        "reference_offsets": starts,
        "point_offsets": offsets_of([len(tile.point_array) for tile in maps]),
        "feature_offsets": _joined([tile.feature_offsets for tile in maps]),
        "observation_offsets": _joined([tile.observation_offsets for tile in maps]),
        "global_descriptors": np.stack(descriptors),
        "codebook": codebook,
        "border_pairs": pairs,
        "border_points": points,
    }
    folder = output.resolve().parent
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
        **calibrated_together([tile.calibration for tile in maps], counts).to_json(),
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
    folder = index.resolve().with_suffix(".tiles")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def calibrated_together(calibrations: Sequence[Calibration], counts: Sequence[int]) -> Calibration:
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


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return offsets of one tile after the other."""
    return offsets_of(np.concatenate([np.diff(part) for part in parts]).tolist())
