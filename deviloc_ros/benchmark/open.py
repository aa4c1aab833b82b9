"""Which benchmarks there are, by the name that the command takes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from deviloc_ros.benchmark.loaders.aachen import load_aachen, load_aachen_1_1
from deviloc_ros.benchmark.loaders.cambridge import load_cambridge
from deviloc_ros.benchmark.loaders.cmu import load_cmu, load_cmu_public
from deviloc_ros.benchmark.loaders.colmap_folder import load_colmap_folder
from deviloc_ros.benchmark.loaders.kapture import load_kapture
from deviloc_ros.benchmark.loaders.robotcar import (
    load_robotcar,
    load_robotcar_2,
    load_robotcar_public,
)
from deviloc_ros.benchmark.loaders.seven_scenes import load_seven_scenes
from deviloc_ros.benchmark.types import Benchmark

Loader = Callable[[Path, Collection[str] | None], Benchmark]
LOADERS: Mapping[str, Loader] = {
    "aachen": load_aachen,
    "aachen-v1.1": load_aachen_1_1,
    "robotcar": load_robotcar,
    "robotcar-v2": load_robotcar_2,
    "robotcar-public": load_robotcar_public,
    "cmu": load_cmu,
    "cmu-public": load_cmu_public,
    "7scenes": load_seven_scenes,
    "cambridge": load_cambridge,
    "kapture": load_kapture,
    "colmap": load_colmap_folder,
}


def open_benchmark(name: str, root: Path, places: Collection[str] | None = None) -> Benchmark:
    """Read lists, intrinsics and poses of a benchmark; images and models are read later.

    Args:
        name: one of LOADERS.
        root: its folder.
        places: names of the scenes, slices or submaps to use; None: all.

    Raises:
        InputError: in one line, what is missing or wrong.
    """
    return LOADERS[name](root, places)
