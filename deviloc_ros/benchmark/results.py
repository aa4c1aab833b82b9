"""The files of a run: what the server takes, every query as JSON, the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deviloc_ros.benchmark.report import write_report
from deviloc_ros.benchmark.run import PlaceRun, RunOptions
from deviloc_ros.benchmark.scores import (
    GroupScore,
    QueryResult,
    errors_by_key,
    group_scores,
    query_results,
    scores_json,
)
from deviloc_ros.benchmark.types import Benchmark
from deviloc_ros.benchmark.worst import draw_worst
from deviloc_ros.datasets.poses import write_poses
from deviloc_ros.evaluation.errors import ImageError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.offline.stats import totals, write_records

JSON, REPORT = "queries.json", "report.html"


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        result_files: for the server, or for `deviloc evaluate`.
        scores: by group.
        num_poses: in the result files.
        notes: what a user should know, a sentence each.
    """

    result_files: Sequence[Path]
    scores: Sequence[GroupScore]
    num_poses: int
    notes: Sequence[str]


def write_results(
    benchmark: Benchmark,
    runs: Sequence[PlaceRun],
    output: Path,
    method: str,
    options: RunOptions,
    num_pictures: int,
) -> Written:
    """Write all files of a run that is complete.

    Raises:
        InputError: a file cannot be written.
    """
    results = query_results(runs)
    scores = group_scores(results)
    notes = [*benchmark.notes, *_notes(benchmark, runs, options)]
    files = _write_poses(benchmark, runs, results, output, method)
    errors = errors_by_key(results)
    records = [_record(result, errors, runs) for result in results]
    context = {
        "benchmark": benchmark.name,
        "title": benchmark.title,
        "method": method,
        "notes": notes,
        "result_files": [path.name for path in files],
        "scores": scores_json(scores, benchmark),
        "config": options.config.model_dump(),
        "pairs": options.pairs,
        "global_features": options.descriptors,
        "rig": options.rig,
    }
    write_records(output / JSON, records, context)
    worst = draw_worst(results, runs, options.config, num_pictures)
    write_report(output / REPORT, benchmark, method, scores, totals(records), notes, worst)
    num_poses = sum(result.pose is not None for result in results)
    return Written(files, scores, num_poses, notes)


def _write_poses(
    benchmark: Benchmark,
    runs: Sequence[PlaceRun],
    results: Sequence[QueryResult],
    output: Path,
    method: str,
) -> list[Path]:
    """Write the result file, or one for each place."""
    contents: dict[str, dict[str, Transform]] = {}
    for result in results:
        place = runs[result.place].place.name
        poses = contents.setdefault(benchmark.result_file.format(method=method, place=place), {})
        if result.pose is not None:
            poses.setdefault(result.result_name, result.pose)
    for name, poses in contents.items():
        write_poses(output / name, poses)
    return [output / name for name in contents]


def _record(
    result: QueryResult, errors: Mapping[str, ImageError], runs: Sequence[PlaceRun]
) -> dict[str, Any]:
    """Return a query's record with what the benchmark adds."""
    record = {
        **result.record,
        "place": runs[result.place].place.name,
        "groups": list(result.groups),
        "result_name": result.result_name,
    }
    if (error := errors.get(result.key)) is not None:
        record |= {"position_error_m": error.position, "rotation_error_deg": error.rotation}
    return record


def _notes(benchmark: Benchmark, runs: Sequence[PlaceRun], options: RunOptions) -> list[str]:
    notes = []
    count = sum(len(run.queries) for run in runs)
    every = sum(len(place.queries) for place in benchmark.places)
    if count < every:
        notes.append(f"this is a subset of {count} of {every} queries, not for a server")
    if any(place.rigs for place in benchmark.places):
        notes.append(
            "the images of one instant are localized together, as a rig: not comparable with "
            "methods that see single images"
            if options.rig
            else "every image is localized by itself; --rig uses the cameras together"
        )
    given = options.pairs or options.descriptors
    if given is not None:
        lost = [q.name for run in runs for q in run.queries if not (run.pairs or {}).get(q.name)]
        notes.append(f"references come from {given}, not from our retrieval")
        if lost:
            notes.append(f"{len(lost)} queries have no reference there ({lost[0]}, ...)")
    return notes
