"""The map of RobotCar Seasons: its submaps become tiles of one map."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from deviloc_ros.datasets.colmap import read_model
from deviloc_ros.errors import InputError
from deviloc_ros.mapping.build import BuildOptions
from deviloc_ros.mapping.given_model import build_given, built_of, inputs_of, settings_of_map
from deviloc_ros.mapping.tiling import tiles_folder, write_index
from deviloc_ros.maps.map import Map
from deviloc_ros.robotcar.seasons_files import Seasons, Submap, as_stored


@dataclass(frozen=True)
class SeasonsSummary:
    """What came of it.

    Attributes:
        num_tiles: of the index.
        num_kept: of them an earlier call had built.
        num_references: in all tiles.
        num_images: that were to be in them.
    """

    num_tiles: int
    num_kept: int
    num_references: int
    num_images: int


def build_seasons(
    seasons: Seasons,
    output: Path,
    up: str | None,
    options: BuildOptions,
    places: Collection[int] | None = None,
) -> SeasonsSummary:
    """Build a tile of every submap, and their index.

    Poses, intrinsics and points are those of the data set, in metres. Tiles that an earlier call
    with the same inputs has built are kept.

    Args:
        seasons: the data set.
        output: the index; tiles get a folder beside it.
        up: the data set's axis that is up (minus-z); tiles are turned to z up. None: they stay
            in the data set's frame, as its benchmark wants poses.
        options: of each tile.
        places: numbers of the submaps; None: all.

    Raises:
        InputError: the data set or a submap cannot be used.
    """
    chosen = [item for item in seasons.submaps if places is None or item.number in places]
    known = {item.number for item in seasons.submaps}
    if places is not None and (unknown := sorted(set(places) - known)):
        raise InputError(
            f"{seasons.folder}: there is no submap {unknown[0]}; there are {min(known)} to "
            f"{max(known)}"
        )
    folder = tiles_folder(output)
    tiles = [folder / f"{submap.name}.devmap" for submap in chosen]
    kept = references = images = 0
    for number, (submap, path) in enumerate(zip(chosen, tiles, strict=True), start=1):
        inputs = inputs_of(sorted(submap.folder.iterdir()), up, settings_of_map(options.config))
        tile = built_of(path, inputs)
        if tile is None:
            print(f"submap {submap.name} ({number} of {len(chosen)})", flush=True)
            tile = _build(seasons, submap, path, up, options, inputs)
        else:
            kept += 1
        references += len(tile.references)
        images += len(tile.references) + len(tile.unregistered)
    write_index(output, tiles, options.config.seed)
    return SeasonsSummary(len(tiles), kept, references, images)


def _build(
    seasons: Seasons,
    submap: Submap,
    path: Path,
    up: str | None,
    options: BuildOptions,
    inputs: str,
) -> Map:
    """Build one tile."""
    model = read_model(submap.folder)
    for image in model.images.values():
        image.name = as_stored(image.name)
    settings = replace(options, metric=True, gravity_aligned=up is not None, up=up or "z")
    meta = {"submap": submap.name}
    return build_given(seasons.images_folder, path, model, settings, inputs, meta)
