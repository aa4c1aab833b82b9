"""The queries that went worst, with pictures of their matches.

Records hold no matches, which would be most of their bytes. The localizer is deterministic: the few
queries that are shown are localized once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.benchmark.run import PlaceRun
from deviloc_ros.benchmark.scores import QueryResult, errors_by_key
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.evaluation.errors import ImageError
from deviloc_ros.evaluation.pictures import draw_matches
from deviloc_ros.images import read_gray
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.offline.image_folder import localize_folder


@dataclass(frozen=True)
class WorstCase:
    """A query to look at.

    Attributes:
        result: the query.
        why: it is shown, for people.
        picture: (H, W, 3) BGR uint8; None: its image cannot be read.
    """

    result: QueryResult
    why: str
    picture: NDArray[np.uint8] | None


def worst_results(results: Sequence[QueryResult], count: int) -> list[tuple[QueryResult, str]]:
    """Return the worst queries and what is bad about each.

    Where truth is known the largest errors come first, taken as wrong poses are worse than none;
    then queries without a pose; then poses with the fewest inliers.
    """
    errors = errors_by_key(results)
    ranked = sorted(results, key=lambda result: _badness(result, errors.get(result.key)))
    return [(item, _why(item, errors.get(item.key))) for item in ranked[:count]]


def draw_worst(
    results: Sequence[QueryResult],
    runs: Sequence[PlaceRun],
    config: LocalizerConfig,
    count: int,
) -> list[WorstCase]:
    """Return the worst queries with pictures.

    Raises:
        InputError: a map or the weights cannot be read any more.
    """
    worst = worst_results(results, count)
    pictures: dict[str, NDArray[np.uint8]] = {}
    for index, run in enumerate(runs):
        cameras = {query.name: query.camera for query in run.queries}
        own = {item.name: cameras[item.name] for item, _ in worst if item.place == index}
        if not own:
            continue
        localizer = Localizer.load(run.map_path, config)
        for image in localize_folder(localizer, run.place.query_images, own, references=run.pairs):
            try:
                pixels = read_gray(run.place.query_images / image.name)
            except InputError:
                continue  # that it cannot be read is the query's result already
            drawn = draw_matches(pixels, image.camera, image.result)
            pictures[f"{run.place.name}/{image.name}"] = drawn
    return [WorstCase(item, why, pictures.get(item.key)) for item, why in worst]


def _badness(result: QueryResult, error: ImageError | None) -> tuple[float, float]:
    if error is not None and error.position is not None and error.rotation is not None:
        # A degree weighs as much as 0.1 m: about the proportion of the benchmarks' thresholds.
        size = error.position + 0.1 * error.rotation
        return (0.0, -size) if size > 1 else (2.0, -size)
    if result.pose is None:
        return 1.0, -float(result.record["num_inliers"])
    return 3.0, float(result.record["num_inliers"])


def _why(result: QueryResult, error: ImageError | None) -> str:
    if result.pose is None:
        return f"no pose: {result.record['reason']}: {result.record['details']}"
    inliers = f"{result.record['num_inliers']} inliers"
    if error is None or error.position is None or error.rotation is None:
        return inliers
    return f"off by {error.position:.3f} m, {error.rotation:.2f} deg; {inliers}"
