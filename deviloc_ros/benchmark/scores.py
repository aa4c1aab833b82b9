"""Recall by group: the places, the times of day, the conditions that a benchmark tells apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deviloc_ros.benchmark.run import PlaceRun
from deviloc_ros.benchmark.types import Benchmark
from deviloc_ros.evaluation.errors import Evaluation, ImageError, evaluate_poses
from deviloc_ros.geometry.transform import Transform

ALL = "all"


@dataclass(frozen=True)
class GroupScore:
    """What came of the queries of one group.

    Attributes:
        name: of the group, or ALL.
        num_queries: all of them.
        num_localized: those with a pose.
        evaluation: errors of those with a public true pose; None: there is none.
    """

    name: str
    num_queries: int
    num_localized: int
    evaluation: Evaluation | None


@dataclass(frozen=True)
class QueryResult:
    """One query.

    Attributes:
        key: place and name, different for every query of a benchmark.
        place: index of its run.
        name: of the query in its place.
        result_name: as the result file has it.
        groups: that it counts for.
        record: see offline/stats.py.
        pose: estimated camera_from_map, if there is one.
        truth: the true one, if it is public.
    """

    key: str
    place: int
    name: str
    result_name: str
    groups: tuple[str, ...]
    record: Mapping[str, Any]
    pose: Transform | None
    truth: Transform | None


def query_results(runs: Sequence[PlaceRun]) -> list[QueryResult]:
    """Return all queries in the order of the benchmark."""
    results = []
    for index, run in enumerate(runs):
        for query in run.queries:
            record = run.records[query.name]
            results.append(
                QueryResult(
                    f"{run.place.name}/{query.name}",
                    index,
                    query.name,
                    query.result_name,
                    query.groups,
                    record,
                    pose_of(record),
                    run.place.truth.get(query.name),
                )
            )
    return results


def pose_of(record: Mapping[str, Any]) -> Transform | None:
    """Return camera_from_map of a record, if it has one."""
    if not record["localized"]:
        return None
    pose = record["camera_from_map"]
    return Transform.from_quaternion(pose["quaternion_wxyz"], pose["translation"])


def group_scores(results: Sequence[QueryResult]) -> list[GroupScore]:
    """Return the scores of all queries together, and of every group in order of appearance."""
    groups = dict.fromkeys(group for result in results for group in result.groups)
    scores = []
    for name in (ALL, *groups):
        own = [result for result in results if name == ALL or name in result.groups]
        found = sum(result.pose is not None for result in own)
        scores.append(GroupScore(name, len(own), found, evaluate(own)))
    same = [s for s in scores[1:] if (s.num_queries == scores[0].num_queries)]
    # One group that is all of them says the same twice.
    return [score for score in scores if score not in same]


def evaluate(results: Sequence[QueryResult]) -> Evaluation | None:
    """Return the errors of the queries with a true pose; None: there is none."""
    truth = {result.key: result.truth for result in results if result.truth is not None}
    if not truth:
        return None
    estimated = {
        result.key: result.pose
        for result in results
        if result.key in truth and result.pose is not None
    }
    return evaluate_poses(estimated, truth)


def errors_by_key(results: Sequence[QueryResult]) -> Mapping[str, ImageError]:
    """Return the errors of every query with a true pose."""
    evaluation = evaluate(results)
    return {} if evaluation is None else {error.name: error for error in evaluation.images}


def scores_json(scores: Sequence[GroupScore], benchmark: Benchmark) -> list[dict[str, Any]]:
    """Return the scores as JSON-serialisable values."""
    return [
        {
            "group": score.name,
            "num_queries": score.num_queries,
            "num_localized": score.num_localized,
            "num_with_truth": 0 if score.evaluation is None else len(score.evaluation.images),
            "median_position_error_m": score.evaluation and score.evaluation.median_position,
            "median_rotation_error_deg": score.evaluation and score.evaluation.median_rotation,
            "recall": score.evaluation
            and [
                {
                    "position_m": limit.metres,
                    "rotation_deg": limit.degrees,
                    "recall": score.evaluation.recall(limit),
                }
                for limit in benchmark.thresholds
            ],
        }
        for score in scores
    ]


def scores_text(scores: Sequence[GroupScore], benchmark: Benchmark) -> str:
    """Return the scores as a table for people."""
    limits = " / ".join(str(limit) for limit in benchmark.thresholds)
    width = max(len(score.name) for score in scores)
    lines = [f"{'':<{width}}  queries  localized  recall at {limits}; median errors"]
    for score in scores:
        text = f"{score.name:<{width}}  {score.num_queries:7}  {score.num_localized:9}  "
        lines.append(text + evaluation_text(score.evaluation, benchmark))
    return "\n".join(lines)


def evaluation_text(evaluation: Evaluation | None, benchmark: Benchmark) -> str:
    """Return recall in percent and medians, or that there is no truth to compare with."""
    if evaluation is None:
        hidden = benchmark.evaluated_by
        return f"true poses are hidden: {hidden} evaluates" if hidden else "no true pose is known"
    text = " / ".join(f"{100 * evaluation.recall(limit):.1f}" for limit in benchmark.thresholds)
    if evaluation.median_position is not None:
        text += f" %; {evaluation.median_position:.3f} m, {evaluation.median_rotation:.2f} deg"
    return text
