"""Aachen Day-Night, version 1.0 and 1.1.

Sattler et al., "Benchmarking 6DOF Outdoor Visual Localization in Changing Conditions", CVPR 2018;
Zhang, Sattler and Scaramuzza, "Reference Pose Generation for Long-term Visual Localization via
Learned Features and View Synthesis", IJCV 2021 (version 1.1). The layout is that of their
downloads.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path, PurePosixPath

from deviloc_ros.benchmark.loaders.folder import (
    check_images,
    chosen,
    first_folder,
    model_choices,
    model_sources,
    read_intrinsics,
    require,
)
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place
from deviloc_ros.datasets.colmap import read_model
from deviloc_ros.datasets.nvm import read_nvm
from deviloc_ros.datasets.sparse_model import SparseModel, sparse_model

IMAGES = ("images/images_upright", "images_upright")
LISTS = {
    "day": "queries/day_time_queries_with_intrinsics.txt",
    "night": "queries/night_time_queries_with_intrinsics.txt",
}
MODELS = ("3D-models/aachen_v_1_0", "3D-models/aachen_v_1")
NVM, NVM_INTRINSICS = "3D-models/aachen_cvpr2018_db.nvm", "3D-models/database_intrinsics.txt"
MODEL_1_1 = "3D-models/aachen_v_1_1"
SERVER = "visuallocalization.net"


def load_aachen(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load version 1.0; its model is COLMAP's, or the NVM file with the list of intrinsics.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    title = "Aachen Day-Night v1.0"
    choices = tuple(name for folder in MODELS for name in model_choices(folder))
    require(root, title, [tuple(f"{name}/" for name in IMAGES), *LISTS.values(), (*choices, NVM)])
    for folder in MODELS:
        if any((root / choice).is_file() for choice in model_choices(folder)):
            return _load(root, "aachen", title, "Aachen_eval_{method}.txt", root / folder, wanted)
    require(root, title, [NVM_INTRINSICS])
    return _load(root, "aachen", title, "Aachen_eval_{method}.txt", root / NVM, wanted)


def load_aachen_1_1(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load version 1.1.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    title = "Aachen Day-Night v1.1"
    images = tuple(f"{name}/" for name in IMAGES)
    require(root, title, [images, *LISTS.values(), model_choices(MODEL_1_1)])
    file = "Aachen_v1_1_eval_{method}.txt"
    return _load(root, "aachen-v1.1", title, file, root / MODEL_1_1, wanted)


def _load(
    root: Path, name: str, title: str, file: str, model: Path, wanted: Collection[str] | None
) -> Benchmark:
    images = first_folder(root, *IMAGES)
    queries = [
        BenchmarkQuery(query, camera, PurePosixPath(query).name, (time,))
        for time, path in LISTS.items()
        for query, camera in read_intrinsics(root / path).items()
    ]
    notes = check_images(title, images, queries, str(root / "queries"))
    chosen(title, root, ["aachen"], wanted)
    if model.is_dir():
        read, sources = partial(_read_colmap, model), model_sources(model)
    else:
        read, sources = partial(_read_nvm, root), [root / NVM, root / NVM_INTRINSICS]
    place = Place("aachen", images, images, read, sources, queries)
    published = {"day": "Aachen day", "night": "Aachen night"} if name == "aachen" else {}
    return Benchmark(name, title, [place], file, SERVER, notes, published)


def _read_colmap(folder: Path) -> SparseModel:
    return sparse_model(read_model(folder))


def _read_nvm(root: Path) -> SparseModel:
    return read_nvm(root / NVM, read_intrinsics(root / NVM_INTRINSICS))
