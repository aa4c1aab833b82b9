"""A map of a model that is in memory, built only if what it is made from has changed."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pycolmap

from deviloc_ros import __version__
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.maps.map import Map

INPUTS = "inputs"
# What says how a map is used and not how it is built: maps are calibrated without context, with
# their own covariances, and one tile at a time; a cache changes no result.
OF_USE: Mapping[str, frozenset[str]] = {
    "matching": frozenset({"context", "cached_references"}),
    "pose": frozenset({"covariance_factor"}),
    "tiles": frozenset({"loaded", "prefetch_distance"}),
}


def inputs_of(sources: Sequence[Path], *settings: object) -> str:
    """Return a text that changes with the files a map is made from, the images aside."""
    files = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    return hashlib.sha256(repr((files, *settings, __version__)).encode()).hexdigest()[:16]


def settings_of_map(config: LocalizerConfig) -> dict[str, Any]:
    """Return the settings that a map depends on: all but those of its use."""
    return config.model_dump(exclude={name: set(keys) for name, keys in OF_USE.items()})


def built_of(path: Path, inputs: str) -> Map | None:
    """Return the map at a path if it was built of these inputs."""
    try:
        built = Map.load(path)
    except InputError:
        return None
    return built if built.meta.get(INPUTS) == inputs else None


def build_given(
    images: Path,
    output: Path,
    model: pycolmap.Reconstruction,
    options: BuildOptions,
    inputs: str,
    meta: Mapping[str, Any],
) -> Map:
    """Build the map of a model's images and write it.

    Args:
        images: folder that the names of the model are below.
        output: the map file.
        model: poses and intrinsics, taken as given; points, if it has some.
        options: as for `build_map`, but for the names.
        inputs: see `inputs_of`; `built_of` compares it.
        meta: what else the map should tell of itself.

    Raises:
        InputError: see `build_map`.
        NothingFoundError: no map came about.
    """
    names = tuple(sorted(image.name for image in model.images.values()))
    with tempfile.TemporaryDirectory(prefix="deviloc-model-") as temporary:
        model.write_binary(temporary)
        settings = replace(options, names=names)
        built = build_map(images, output, Path(temporary), settings).map
    built = built.with_meta({**meta, INPUTS: inputs})
    built.save(output)
    return built
