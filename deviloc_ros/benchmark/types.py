"""What every benchmark is: places with a reference model each, and queries in each place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deviloc_ros.datasets.sparse_model import SparseModel
from deviloc_ros.evaluation.errors import BENCHMARK_THRESHOLDS, Threshold
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class BenchmarkQuery:
    """An image to localize.

    Attributes:
        name: its path below the place's folder of queries.
        camera: intrinsics of the stored pixels.
        result_name: what the result file calls it.
        groups: the conditions that its result counts for, such as night.
    """

    name: str
    camera: Camera
    result_name: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class RigImage:
    """An image of a camera that is fixed to a body.

    Attributes:
        name: its path below the place's folder of queries.
        camera: intrinsics of the stored pixels.
        base_from_camera: where the camera sits.
    """

    name: str
    camera: Camera
    base_from_camera: Transform


@dataclass(frozen=True)
class Place:
    """One map and its queries.

    Attributes:
        name: of the scene, slice or submap; part of file names.
        reference_images: folder that the names of the reference model are below.
        query_images: folder that the names of the queries are below.
        model: reads the reference model: the images that the map is made of. Without points they
            are triangulated.
        sources: the files that the model is read from; the map is built again when one changes.
        queries: in the order of the result file.
        truth: true camera_from_map of those queries that have a public one, by name.
        pair_name: turns a name of a pair file into one of the queries or of the model.
        rigs: the images that were taken at a query's instant by cameras of one body, its own among
            them, by the query's name; empty: the benchmark has no rig.
    """

    name: str
    reference_images: Path
    query_images: Path
    model: Callable[[], SparseModel]
    sources: Sequence[Path]
    queries: Sequence[BenchmarkQuery]
    truth: Mapping[str, Transform] = field(default_factory=dict)
    pair_name: Callable[[str], str] = str
    rigs: Mapping[str, Sequence[RigImage]] = field(default_factory=dict)


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as it lies in a folder.

    Attributes:
        name: as the command takes it.
        title: for people.
        places: at least one.
        result_file: name of the result file; {method} and {place} are filled in. Without {place}
            one file holds all.
        evaluated_by: the server that has the hidden poses; empty: the poses are public.
        notes: what a user should know of this folder, a sentence each.
        published: which column of the published table belongs to which group; see published.py.
        thresholds: of the recall.
        metric: whether a unit is a metre.
    """

    name: str
    title: str
    places: Sequence[Place]
    result_file: str
    evaluated_by: str = ""
    notes: Sequence[str] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    thresholds: Sequence[Threshold] = BENCHMARK_THRESHOLDS
    metric: bool = True
