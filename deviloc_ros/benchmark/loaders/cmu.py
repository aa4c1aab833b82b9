"""Extended CMU Seasons: slices with a model each, two cameras.

Sattler et al., CVPR 2018, and its longer version; poses of about half of the query images are
public (`camera-poses/`), those of the lists `test-images-sliceN.txt` are hidden.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from deviloc_ros.benchmark.loaders.folder import (
    check_images,
    chosen,
    model_choices,
    model_sources,
    read_intrinsics,
    read_names,
    require,
)
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place
from deviloc_ros.datasets.colmap import read_model
from deviloc_ros.datasets.lines import read_lines, split_name
from deviloc_ros.datasets.sparse_model import SparseModel, sparse_model
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

TITLE = "Extended CMU Seasons"
AREAS = {"urban": range(2, 9), "suburban": range(9, 18), "park": range(18, 26)}
CAMERA_FIELD = 2  # of a file name, split at underscores: img_00119_c1_1303398474779487us.jpg
POSE_LINE = "name qw qx qy qz cx cy cz"
PUBLISHED = {area: f"CMU {area}" for area in AREAS}


def load_cmu(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load the slices that have a list of test images.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    numbers = [n for n in _slices(root) if (root / f"slice{n}/{_list(n)}").is_file()]
    if not numbers:
        raise InputError(f"{root}: no slice has a list of test images, such as slice2/{_list(2)}")
    return _load(root, "cmu", numbers, wanted, public=False)


def load_cmu_public(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load the query images with public poses, of the slices that have some.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    numbers = [n for n in _slices(root) if any((root / f"slice{n}/camera-poses").glob("*.txt"))]
    if not numbers:
        raise InputError(f"{root}: no slice has public poses, such as slice2/camera-poses/*.txt")
    return _load(root, "cmu-public", numbers, wanted, public=True)


def _slices(root: Path) -> list[int]:
    require(root, TITLE, ["intrinsics.txt"])
    found = [re.fullmatch(r"slice(\d{1,3})", path.name) for path in root.iterdir()]
    numbers = sorted(int(match[1]) for match in found if match is not None)
    if not numbers:
        raise InputError(f"{root}: is not a complete {TITLE}: there is no folder such as slice2")
    return numbers


def _list(number: int) -> str:
    return f"test-images-slice{number}.txt"


def _load(
    root: Path, name: str, numbers: list[int], wanted: Collection[str] | None, public: bool
) -> Benchmark:
    names = chosen(TITLE, root, [f"slice{number}" for number in numbers], wanted)
    numbers = [int(text.removeprefix("slice")) for text in names]
    require(
        root,
        TITLE,
        [
            item
            for n in numbers
            for item in (
                f"slice{n}/database/",
                f"slice{n}/query/",
                model_choices(f"slice{n}/sparse"),
            )
        ],
    )
    cameras = read_intrinsics(root / "intrinsics.txt")
    places: list[Place] = []
    notes: list[str] = []
    for number in numbers:
        place, own = _place(root / f"slice{number}", number, cameras, public)
        places.append(place)
        notes += own
    server = "" if public else "visuallocalization.net"
    file = "CMU_public_{method}.txt" if public else "CMU_eval_{method}.txt"
    return Benchmark(name, TITLE, places, file, server, notes, {} if public else PUBLISHED)


def _place(
    folder: Path, number: int, cameras: Mapping[str, Camera], public: bool
) -> tuple[Place, Collection[str]]:
    truth = _public_poses(folder / "camera-poses") if public else {}
    names = sorted(truth) if public else read_names(folder / _list(number))
    area = next((area for area, slices in AREAS.items() if number in slices), "other")
    queries = [
        BenchmarkQuery(name, _camera(folder, name, cameras), name, (area, folder.name))
        for name in (_stored(name) for name in names)
    ]
    source = folder / ("camera-poses" if public else _list(number))
    notes = check_images(TITLE, folder / "query", queries, str(source))
    place = Place(
        folder.name,
        folder / "database",
        folder / "query",
        partial(_read, folder / "sparse"),
        model_sources(folder / "sparse"),
        queries,
        truth,
        _stored,
    )
    return place, notes


def _camera(folder: Path, name: str, cameras: Mapping[str, Camera]) -> Camera:
    fields = name.split("_")
    if len(fields) <= CAMERA_FIELD or fields[CAMERA_FIELD] not in cameras:
        raise InputError(
            f"{folder}: the camera of {name} is unknown: its third field must be one of "
            f"{', '.join(cameras)}, as in img_00119_c1_1303398474779487us.jpg"
        )
    return cameras[fields[CAMERA_FIELD]]


def _stored(name: str) -> str:
    """Return an image's name without the folder that models and pair files may put before it."""
    return name.removeprefix("query/").removeprefix("database/")


def _read(folder: Path) -> SparseModel:
    model = sparse_model(read_model(folder))
    images = [image.renamed(_stored(image.posed.name)) for image in model.images]
    return SparseModel(images, model.points)


def _public_poses(folder: Path) -> Mapping[str, Transform]:
    """Read "name qw qx qy qz cx cy cz": rotation camera_from_map, position of the camera."""
    poses: dict[str, Transform] = {}
    for path in sorted(folder.glob("*.txt")):
        for place, text in read_lines(path):
            name, values = split_name(place, text, 7, POSE_LINE)
            if not 1e-6 < np.linalg.norm(values[:4]) < 1e6:
                raise InputError(f"{place}: the quaternion {values[:4]} cannot be normalised")
            turned = Transform.from_quaternion(values[:4], np.zeros(3))
            centre = turned.apply(values[4:])
            poses[_stored(name)] = Transform(turned.rotation, -centre)
    return poses
