"""Build or reuse the maps of a benchmark, and localize its queries; what is done is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deviloc_ros import __version__
from deviloc_ros.benchmark.localize import LocalizeUnits, units_of
from deviloc_ros.benchmark.query_log import QueryLog
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place
from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.hloc_files import MatchFile, check_hdf5, rank_by_descriptors
from deviloc_ros.datasets.pairs import read_pairs
from deviloc_ros.errors import InputError
from deviloc_ros.mapping.build import BuildOptions
from deviloc_ros.mapping.given_model import build_given, built_of, inputs_of, settings_of_map
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.models.runtime import choose_device
from deviloc_ros.offline.stats import query_record

MAPS, QUERIES, MATCHES = "maps", "queries", "matches"
MORE_REFERENCES = 4  # than are matched with: some the matcher cannot use
PLACE = "{place}"
AT_ONCE = 16  # queries in one pass of the networks on a GPU; a CPU gains nothing
Pairs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class RunOptions:
    """How to run a benchmark.

    Attributes:
        config: of the localizer and of the maps.
        subset: this many queries, taken evenly from all; None: all.
        pairs: pair file that replaces retrieval; {place} stands for the name of a place.
        descriptors: hloc's file of global descriptors, which replaces retrieval, too.
        matches: write the matches of every query to an HDF5 file.
        workers: who localizes queries and builds maps.
        rig: localize the images of one instant together, where the benchmark has a rig.
    """

    config: LocalizerConfig
    subset: int | None = None
    pairs: str | None = None
    descriptors: str | None = None
    matches: bool = False
    workers: Workers = THIS_PROCESS
    rig: bool = False


@dataclass(frozen=True)
class PlaceRun:
    """What is to be done for a place, and what came of it.

    Attributes:
        place: the place.
        queries: those of its queries that are localized.
        pairs: references of the queries, by name; None: retrieval finds them.
        map_path: its map.
        records: of the queries that are done, by name; see offline/stats.py.
    """

    place: Place
    queries: Sequence[BenchmarkQuery]
    pairs: Pairs | None
    map_path: Path
    records: Mapping[str, Mapping[str, Any]]


class Told(Protocol):
    """Who is told of progress."""

    def building(self, place: Place) -> None:
        """Tell that the map of a place is built now."""

    def kept(self, count: int) -> None:
        """Tell how many queries of a place an earlier run has localized."""

    def localized(self) -> None:
        """Tell that one more query is done."""


def plan(benchmark: Benchmark, output: Path, options: RunOptions) -> list[PlaceRun]:
    """Choose queries and read pair files, before any work.

    Raises:
        InputError: a rig is asked for and there is none; a pair file cannot be read, or has no
            pair of any query of its place; a file of descriptors cannot be read, or h5py is
            missing where it is needed.
    """
    if options.matches:
        check_hdf5()
    if options.rig and not any(place.rigs for place in benchmark.places):
        raise InputError(f"--rig: {benchmark.title} has no rig of cameras; leave it out")
    if options.rig and (options.pairs or options.descriptors):
        raise InputError(
            "--rig: a rig finds its references itself; leave out --pairs and --global-features"
        )
    every = [(place, query) for place in benchmark.places for query in place.queries]
    count = min(options.subset or len(every), len(every))
    chosen = np.linspace(0, len(every) - 1, count).round().astype(int).tolist()
    queries: dict[str, list[BenchmarkQuery]] = {}
    for index in chosen:
        place, query = every[index]
        queries.setdefault(place.name, []).append(query)
    runs = []
    for place in benchmark.places:
        if place.name not in queries:
            continue
        pairs = _pairs(place, options.pairs, queries[place.name])
        if options.descriptors is not None:
            check_hdf5(Path(options.descriptors.replace(PLACE, place.name)))
        path = output / MAPS / f"{place.name}.devmap"
        runs.append(PlaceRun(place, queries[place.name], pairs, path, {}))
    return runs


def run_place(
    run: PlaceRun,
    benchmark: Benchmark,
    output: Path,
    options: RunOptions,
    told: Told,
) -> PlaceRun:
    """Build the map of a place if need be, and localize those of its queries that are not done.

    Args:
        run: see `plan`.
        benchmark: that it belongs to.
        output: folder of maps and logs, which exists.
        options: see RunOptions.
        told: hears of progress.

    Raises:
        InputError: model, images, weights or an older file cannot be used.
        NothingFoundError: no map came about.
    """
    place, config = run.place, options.config
    reference_map = _map(run, benchmark, options, told)
    if options.descriptors is not None:
        run = replace(run, pairs=_ranked(run, reference_map, options.descriptors, config))
    name = f"{benchmark.name}-{place.name}"
    matches = None
    if options.matches:
        (output / MATCHES).mkdir(exist_ok=True)
        matches = MatchFile(output / MATCHES / f"{name}.h5")
    with QueryLog(output / QUERIES / f"{name}.jsonl", _log_inputs(run, config, options.rig)) as log:
        done = set(log.records)
        if matches is not None:
            done = {n for n in done if not log.records[n]["localized"]} | matches.names(done)
        left = [query for query in run.queries if query.name not in done]
        told.kept(len(run.queries) - len(left))
        localize = LocalizeUnits(
            run.map_path.absolute(), config, place.query_images.absolute(), run.pairs
        )
        at_once = 1 if choose_device(config.device).type == "cpu" else AT_ONCE
        units = units_of(left, place.rigs if options.rig else {}, at_once)
        for images in options.workers.map(localize, units, None):
            for image in images:
                if matches is not None and image.estimate is not None:
                    used = image.estimate.correspondences
                    matches.write(image.name, used.keypoints, used.points3d, used.confidence)
                log.add(query_record(image))
                told.localized()
        return replace(run, records={q.name: log.records[q.name] for q in run.queries})


def _map(run: PlaceRun, benchmark: Benchmark, options: RunOptions, told: Told) -> Map:
    """Return the map of a place, built if need be."""
    place, config = run.place, options.config
    building = BuildOptions(config=config, metric=benchmark.metric, workers=options.workers)
    images = str(place.reference_images.resolve())
    inputs = inputs_of(place.sources, images, settings_of_map(config))
    built = built_of(run.map_path, inputs)
    if built is None:
        told.building(place)
        model = place.model().colmap()
        meta = {"benchmark": benchmark.name, "place": place.name}
        built = build_given(place.reference_images, run.map_path, model, building, inputs, meta)
    return built


def _ranked(run: PlaceRun, reference_map: Map, template: str, config: LocalizerConfig) -> Pairs:
    """Rank the references of a map for every query by global descriptors of a file."""
    path = Path(template.replace(PLACE, run.place.name))
    count = MORE_REFERENCES * config.retrieval.num_references
    queries = [query.name for query in run.queries]
    references = [reference.name for reference in reference_map.references]
    return rank_by_descriptors(path, queries, references, count)


def _log_inputs(run: PlaceRun, config: LocalizerConfig, rig: bool) -> str:
    """Return what changes with anything that the pose of a query depends on."""
    text = repr(
        (
            map_id(run.map_path),
            config.model_dump(),
            __version__,
            str(run.place.query_images.resolve()),
            [(query.name, query.camera) for query in run.place.queries],
            None if run.pairs is None else sorted(run.pairs.items()),
            *(_mounted(run.place) if rig else ()),
        )
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _mounted(place: Place) -> list[tuple[str, list[tuple[str, str, list[list[float]]]]]]:
    """Return the rigs of a place as something to be written down."""
    return [
        (
            name,
            [(i.name, str(i.camera), i.base_from_camera.matrix.tolist()) for i in images],
        )
        for name, images in sorted(place.rigs.items())
    ]


def _pairs(place: Place, template: str | None, queries: Sequence[BenchmarkQuery]) -> Pairs | None:
    if template is None:
        return None
    path = Path(template.replace(PLACE, place.name))
    pairs = {
        place.pair_name(query): tuple(place.pair_name(name) for name in references)
        for query, references in read_pairs(path).items()
    }
    if not any(query.name in pairs for query in queries):
        raise InputError(
            f"{path}: pairs none of the {len(queries)} queries of {place.name}: they are named "
            f"like {queries[0].name}, it has {next(iter(pairs))}"
        )
    return pairs
