"""RobotCar Seasons, version 1 (all queries hidden) and 2 (about half of the rear ones public).

Sattler et al., CVPR 2018. Every location has a model of its own; the lists of its queries say which
images belong to it. `robotcar/seasons_files.py` reads the folder.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from deviloc_ros.benchmark.loaders.folder import (
    check_images,
    chosen,
    model_choices,
    model_sources,
    require,
)
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place, RigImage
from deviloc_ros.datasets.colmap import read_model
from deviloc_ros.datasets.sparse_model import SparseModel, sparse_model
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robotcar.seasons_files import (
    CAMERAS,
    MODELS,
    QUERIES,
    TEST,
    TRAIN,
    Seasons,
    Submap,
    as_stored,
)

TITLE = "RobotCar Seasons"
NIGHT = ("night", "night-rain")
SERVER = "visuallocalization.net"
PUBLISHED = {"day-all": "RobotCar day-all", "night-all": "RobotCar night-all"}


def load_robotcar(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load version 1: every query image of the lists.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    seasons = _open(root, [])
    places, notes = _places(seasons, wanted, None, {})
    file = "RobotCar_eval_{method}.txt"
    return Benchmark("robotcar", f"{TITLE} v1", places, file, SERVER, notes, PUBLISHED)


def load_robotcar_2(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load version 2: the images whose poses are hidden.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    seasons = _open(root, [TEST])
    places, notes = _places(seasons, wanted, set(seasons.test_images()), {})
    file = "RobotCar_eval_{method}.txt"
    return Benchmark("robotcar-v2", f"{TITLE} v2", places, file, SERVER, notes)


def load_robotcar_public(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load the query images that version 2 has public poses of.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    seasons = _open(root, [TRAIN])
    poses = seasons.training_poses()
    truth = {name: pose.inverse() for name, pose in poses.items()}
    places, notes = _places(seasons, wanted, set(truth), truth)
    title, file = f"{TITLE} v2, images with public poses", "RobotCar_public_{method}.txt"
    return Benchmark("robotcar-public", title, places, file, notes=notes)


def _open(root: Path, more: Sequence[str]) -> Seasons:
    intrinsics = [f"intrinsics/{camera}_intrinsics.txt" for camera in CAMERAS]
    folders = ["images/", "extrinsics/", f"{MODELS}/", f"{QUERIES}/"]
    require(root, TITLE, [*folders, *intrinsics, *more])
    return Seasons(root)


def _places(
    seasons: Seasons,
    wanted: Collection[str] | None,
    only: Collection[str] | None,
    truth: Mapping[str, Transform],
) -> tuple[Sequence[Place], Sequence[str]]:
    """Return the locations with those of their queries that are among `only`."""
    submaps = {submap.name: submap for submap in seasons.submaps}
    names = chosen(TITLE, seasons.folder, list(submaps), wanted)
    require(
        seasons.folder,
        TITLE,
        [
            item
            for name in names
            for item in (
                model_choices(f"{MODELS}/{name}_aligned"),
                f"{QUERIES}/queries_location_{name}.txt",
            )
        ],
    )
    cameras: dict[str, Camera] = {}
    mounted, notes = _mounted(seasons)
    places = []
    for name in names:
        listed = list(map(as_stored, seasons.queries(submaps[name].number)))
        every_image = [_query(seasons, image, cameras) for image in listed]
        queries = [query for query in every_image if only is None or query.name in only]
        if queries:
            rigs = _rigs(every_image, mounted) if mounted else {}
            places.append(_place(seasons, submaps[name], queries, truth, rigs))
    every = [query for place in places for query in place.queries]
    notes += [*check_images(TITLE, seasons.images_folder, every, str(seasons.folder / QUERIES))]
    lost = set(only or ()) - {query.name for query in every}
    if lost and wanted is None:
        notes.append(f"{len(lost)} images are in no list of a location ({min(lost)}, ...)")
    return places, notes


def _query(seasons: Seasons, name: str, cameras: dict[str, Camera]) -> BenchmarkQuery:
    condition, _, rest = name.partition("/")
    camera, _, file = rest.partition("/")
    if camera not in CAMERAS or not file:
        raise InputError(
            f"{seasons.folder / QUERIES}: the query {name!r} should be "
            "condition/camera/name.jpg, with the camera left, rear or right"
        )
    if camera not in cameras:
        cameras[camera] = seasons.camera(camera)
    time = "night-all" if condition in NIGHT else "day-all"
    return BenchmarkQuery(name, cameras[camera], f"{camera}/{file}", (time, condition))


def _mounted(seasons: Seasons) -> tuple[Mapping[str, Transform], list[str]]:
    """Return where the cameras sit; else nothing, and a note: only a rig needs to know."""
    try:
        return {camera: seasons.base_from_optical(camera) for camera in CAMERAS}, []
    except InputError as error:
        return {}, [f"there is no rig: {error}"]


def _rigs(
    images: Sequence[BenchmarkQuery], mounted: Mapping[str, Transform]
) -> Mapping[str, Sequence[RigImage]]:
    """Return the images of each one's instant: the three cameras' files have the same name."""
    instants: dict[tuple[str, str], list[RigImage]] = {}
    for image in sorted(images, key=lambda each: each.name):
        condition, camera, file = image.name.split("/", 2)
        seen = RigImage(image.name, image.camera, mounted[camera])
        instants.setdefault((condition, file), []).append(seen)
    return {image.name: together for together in instants.values() for image in together}


def _place(
    seasons: Seasons,
    submap: Submap,
    queries: Sequence[BenchmarkQuery],
    truth: Mapping[str, Transform],
    rigs: Mapping[str, Sequence[RigImage]],
) -> Place:
    return Place(
        submap.name,
        seasons.images_folder,
        seasons.images_folder,
        partial(_read, submap.folder),
        model_sources(submap.folder),
        queries,
        {query.name: truth[query.name] for query in queries if query.name in truth},
        as_stored,
        rigs,
    )


def _read(folder: Path) -> SparseModel:
    model = sparse_model(read_model(folder))
    images = [image.renamed(as_stored(image.posed.name)) for image in model.images]
    return SparseModel(images, model.points)
