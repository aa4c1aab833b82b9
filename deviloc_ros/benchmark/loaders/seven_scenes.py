"""7 Scenes, with the models that hloc uses: all images, training and test, triangulated.

Shotton et al., "Scene Coordinate Regression Forests for Camera Relocalization in RGB-D Images",
CVPR 2013. The map is what remains without the test images.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from deviloc_ros.benchmark.loaders.folder import (
    check_images,
    chosen,
    model_choices,
    model_sources,
    read_names,
    require,
)
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place
from deviloc_ros.datasets.colmap import posed_images, read_model
from deviloc_ros.datasets.sparse_model import SparseModel, sparse_model
from deviloc_ros.errors import InputError
from deviloc_ros.evaluation.errors import Threshold

TITLE = "7 Scenes"
MODELS = "7scenes_sfm_triangulated"
LIST = "list_test.txt"
THRESHOLDS = (Threshold(0.01, 1), Threshold(0.05, 5), Threshold(0.25, 2))


def load_seven_scenes(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load the scenes that have a model.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    require(root, TITLE, [f"{MODELS}/"])
    there = sorted(path.name for path in (root / MODELS).iterdir() if path.is_dir())
    if not there:
        raise InputError(f"{root / MODELS}: holds no folder of a scene, such as chess")
    scenes = chosen(TITLE, root, there, wanted)
    folders = {scene: f"{MODELS}/{scene}/triangulated" for scene in scenes}
    require(
        root,
        TITLE,
        [
            item
            for scene, folder in folders.items()
            for item in (f"{scene}/", model_choices(folder), f"{folder}/{LIST}")
        ],
    )
    places: list[Place] = []
    notes: list[str] = []
    for scene, folder in folders.items():
        place, own = _place(root, scene, root / folder)
        places.append(place)
        notes += own
    return Benchmark(
        "7scenes", TITLE, places, "{place}_poses.txt", notes=notes, thresholds=THRESHOLDS
    )


def _place(root: Path, scene: str, folder: Path) -> tuple[Place, Collection[str]]:
    posed = {image.name: image for image in posed_images(folder)}
    names = read_names(folder / LIST)
    if strange := [name for name in names if name not in posed]:
        raise InputError(f"{folder / LIST}: {strange[0]} has no pose in the model beside it")
    if len(set(names)) == len(posed):
        raise InputError(f"{folder / LIST}: names every image of the model; none is left to map")
    queries = [BenchmarkQuery(name, posed[name].camera, name, (scene,)) for name in names]
    notes = check_images(TITLE, root / scene, queries, str(folder / LIST))
    references = [name for name in posed if name not in set(names)]
    return Place(
        scene,
        root / scene,
        root / scene,
        partial(_read, folder, references),
        [*model_sources(folder), folder / LIST],
        queries,
        {name: posed[name].camera_from_map for name in names},
    ), notes


def _read(folder: Path, names: Collection[str]) -> SparseModel:
    return sparse_model(read_model(folder), names)
