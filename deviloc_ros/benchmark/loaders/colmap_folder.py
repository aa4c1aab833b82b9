"""Any place: a folder with images, a COLMAP model, and a list of queries.

images/         all images
model/          COLMAP model, text or binary (sparse/0 and sparse are found, too)
queries.txt     "name", an image of the model that is held back from the map: its pose is the
                truth; or "name MODEL width height param ..." for another image
truth/          COLMAP model with the poses of other queries, where there are some
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
    require,
)
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place
from deviloc_ros.datasets.colmap import posed_images, read_model
from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.datasets.sparse_model import SparseModel, sparse_model
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera

TITLE = "folder with a COLMAP model"
MODELS = ("model", "sparse/0", "sparse")
LIST = "queries.txt"


def load_colmap_folder(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load a folder.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    choices = tuple(choice for name in MODELS for choice in model_choices(name))
    require(root, TITLE, ["images/", choices, LIST])
    folder = next(
        root / name for name in MODELS if any((root / c).is_file() for c in model_choices(name))
    )
    name = root.resolve().name
    chosen(TITLE, root, [name], wanted)
    posed = {image.name: image for image in posed_images(folder)}
    other = {}
    if (root / "truth").is_dir():
        other = {image.name: image for image in posed_images(root / "truth")}
    queries = []
    for line, text in read_lines(root / LIST):
        query, _, camera = text.partition(" ")
        if camera.strip():
            try:
                own = Camera.parse(camera)
            except InputError as error:
                raise InputError(f"{line}: {error}") from None
        elif query in posed or query in other:
            own = (posed.get(query) or other[query]).camera
        else:
            raise InputError(f"{line}: {query} is not in the model; give its camera as well")
        queries.append(BenchmarkQuery(query, own, query))
    names = {query.name for query in queries}
    references = [image for image in posed if image not in names]
    if not references:
        raise InputError(f"{root / LIST}: names every image of the model; none is left to map")
    truth = {image: item.camera_from_map for image, item in (other | posed).items()}
    place = Place(
        name,
        root / "images",
        root / "images",
        partial(_read, folder, references),
        [*model_sources(folder), root / LIST],
        queries,
        {query: truth[query] for query in names if query in truth},
    )
    notes = check_images(TITLE, root / "images", queries, str(root / LIST))
    return Benchmark("colmap", f"{name}, a COLMAP model", [place], "{place}_poses.txt", notes=notes)


def _read(folder: Path, names: Collection[str]) -> SparseModel:
    return sparse_model(read_model(folder), names)
