"""Do all references have to be compared in full? The first ones give a pose that guides the rest.

    ./run bench guided_rest DATA --work WORK

Similarities of all features of the query with all of each reference take most of matching where a
CPU has no integer products. Here the first one or two references are compared in full; the others
only near where the pose that these give puts their features (localization/context). Queries are
castle-P19 in a map of castle-P30 (K = 5) and every third image of kitti-residential in a map of the
others (K = 3). Each query is localized by all ways in turn. Matches that were guided are no
evidence for a pose: it then rests on the first references alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from accuracy import Bench
from lifting.scenes import SCENES
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer, PoseEstimate
from deviloc_ros.localization.context.escalation import CONVINCING_INLIERS, CONVINCING_SHARE
from deviloc_ros.localization.context.search import CpuContextSearch
from deviloc_ros.localization.matching.semi_dense import SemiDenseMatcher
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Query, Way, concatenated
from deviloc_ros.maps.map import Map
from deviloc_ros.schema import load

NUM_REFERENCES = {"castle": 5, "kitti": 3}
RADIUS = 12.0  # pixels of the working size
WAYS = (None, 2, 1)  # so many references are compared in full; None: all


class GuidedRest:
    """Compares the first references of the first cluster in full, the others near their pose."""

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(self, stages: Pipeline, num_full: int) -> None:
        """Take the parts of a pipeline whose first way is nearest neighbours."""
        matcher = stages.ways[0][1]
        assert isinstance(matcher, SemiDenseMatcher)
        self._matcher, self._solver, self._num_full = matcher, stages.solver, num_full
        self._search = CpuContextSearch(stages.map, stages.config)
        self._confidence = stages.config.matching.fine_confidence

    def warm_up(self) -> None:
        """Load nothing."""

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references; see Matcher."""
        first, rest = clusters[0][: self._num_full], clusters[0][self._num_full :]
        others = [self._matcher(query, [cluster], clock) for cluster in clusters[1:]]
        matches = self._matcher(query, [first], clock)
        if not len(rest):
            return concatenated([matches, *others])
        merged = self._solver.aggregate(matches, query.camera)
        pose = self._solver.estimate_pose(merged, query.camera)
        needed = max(CONVINCING_INLIERS, CONVINCING_SHARE * len(merged))
        if pose is None or pose.num_inliers < needed:
            return concatenated([matches, self._matcher(query, [rest], clock), *others])
        pairs = self._search.near(query, rest, pose.camera_from_map, RADIUS)
        found = self._matcher.corresponding(query, rest, pairs, self._confidence)
        guided = replace(found, guided=np.ones(len(found), dtype=np.bool_))
        return concatenated([matches, guided, *others])


def localizer_of(reference_map: Map, config: LocalizerConfig, num_full: int | None) -> Localizer:
    """Return a localizer that compares so many references in full."""
    localizer = Localizer(reference_map, config)
    stages = localizer._pipeline
    if num_full is not None:
        ways = ((Way.FAST, GuidedRest(stages, num_full)),)
        localizer._pipeline = replace(stages, ways=ways)
    return localizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    print("| scene | compared in full | localized | position | rotation | CPU-s | wall |")
    print("|---|---|---|---|---|---|---|")
    for name, count in NUM_REFERENCES.items():
        scene = SCENES[name](Bench(args.data, args.work, []))
        reference_map = Map.load(scene.map_path)
        chosen = [f"retrieval.num_references={count}", "matching.context=never"]
        config = load(LocalizerConfig, None, chosen)
        localizers = [localizer_of(reference_map, config, num_full) for num_full in WAYS]
        errors = np.full((len(WAYS), len(scene.queries), 2), np.inf)
        taken = np.zeros((len(WAYS), len(scene.queries), 2))
        for column, query in enumerate(scene.queries):
            image = read_gray(scene.query_images / query.name)
            for row, localizer in enumerate(localizers):
                localizer.localize(image, query.camera)
                begin = time.process_time(), time.perf_counter()
                found = localizer.localize(image, query.camera)
                taken[row, column] = time.process_time() - begin[0], time.perf_counter() - begin[1]
                if isinstance(found, PoseEstimate):
                    truth = query.camera_from_map.inverse()
                    errors[row, column] = found.map_from_camera.distance_to(truth)
        for num_full, error, seconds in zip(WAYS, errors, taken, strict=True):
            position, rotation = np.median(error, axis=0)
            cpu, wall = np.median(seconds, axis=0)
            print(
                f"| {name} | {f'all {count}' if num_full is None else f'{num_full} of {count}'} "
                f"| {np.isfinite(error[:, 0]).sum()} of {len(error)} | {1000 * position:.1f} mm "
                f"| {rotation:.4f} deg | {cpu:.3f} | {1000 * wall:.0f} ms |",
                flush=True,
            )


if __name__ == "__main__":
    main()
