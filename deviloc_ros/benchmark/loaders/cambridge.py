"""Cambridge Landmarks, with the models that hloc uses: made of images reduced to 1024 pixels.

Kendall, Grimes and Cipolla, "PoseNet", ICCV 2015. Cameras and observations are scaled to the
original images, which the map and the queries use.
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
from deviloc_ros.datasets.sparse_model import ObservingImage, SparseModel, sparse_model
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import image_size

TITLE = "Cambridge Landmarks"
MODELS = "CambridgeLandmarks_Colmap_Retriangulated_1024px"
ALL, TRAIN, LIST = "empty_all", "model_train", "list_query.txt"


def load_cambridge(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load the scenes that have a model.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    require(root, TITLE, [f"{MODELS}/"])
    there = sorted(path.name for path in (root / MODELS).iterdir() if path.is_dir())
    if not there:
        raise InputError(f"{root / MODELS}: holds no folder of a scene, such as ShopFacade")
    scenes = chosen(TITLE, root, there, wanted)
    require(
        root,
        TITLE,
        [
            item
            for scene in scenes
            for item in (
                f"{scene}/",
                model_choices(f"{MODELS}/{scene}/{ALL}"),
                model_choices(f"{MODELS}/{scene}/{TRAIN}"),
                f"{MODELS}/{scene}/{LIST}",
            )
        ],
    )
    places: list[Place] = []
    notes: list[str] = []
    for scene in scenes:
        place, own = _place(root / scene, root / MODELS / scene)
        places.append(place)
        notes += own
    return Benchmark("cambridge", TITLE, places, "{place}_poses.txt", notes=notes)


def _place(images: Path, folder: Path) -> tuple[Place, Collection[str]]:
    posed = {image.name: image for image in posed_images(folder / ALL)}
    names = read_names(folder / LIST)
    if strange := [name for name in names if name not in posed]:
        raise InputError(f"{folder / LIST}: {strange[0]} has no pose in {folder / ALL}")
    queries = [
        BenchmarkQuery(name, _original(images / name, posed[name].camera), name, (images.name,))
        for name in names
    ]
    notes = check_images(TITLE, images, queries, str(folder / LIST))
    return Place(
        images.name,
        images,
        images,
        partial(_read, folder / TRAIN, images),
        model_sources(folder / TRAIN),
        queries,
        {name: posed[name].camera_from_map for name in names},
    ), notes


def _original(path: Path, camera: Camera) -> Camera:
    """Return the camera of the original image; a missing one is told of later."""
    if not path.is_file():
        return camera
    try:
        return camera.fitted_to(*image_size(path))
    except InputError as error:
        raise InputError(f"{path}: {error}".replace(f"{path}: {path}", str(path))) from None


def _read(folder: Path, images: Path) -> SparseModel:
    model = sparse_model(read_model(folder))
    return SparseModel([_resized(image, images) for image in model.images], model.points)


def _resized(image: ObservingImage, images: Path) -> ObservingImage:
    path = images / image.posed.name
    if not path.is_file():
        return image  # the map names it among those that it lacks
    try:
        return image.resized(*image_size(path))
    except InputError as error:
        raise InputError(f"{path}: {error}".replace(f"{path}: {path}", str(path))) from None
