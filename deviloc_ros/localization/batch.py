"""Several queries at once: matched as one batch where the device can, their poses in threads.

The calling thread retrieves and matches; a pool estimates, aligns and verifies meanwhile. Results
are those of one query after the other, to the rounding of products of another size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.errors import DamagedMapError
from deviloc_ros.localization.context.escalation import in_doubt, most_believable
from deviloc_ros.localization.deviloc import localize_query
from deviloc_ros.localization.matching.matcher import Matcher
from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    Localization,
    LocalizationFailure,
    PosePrior,
    Query,
    Way,
)

Clusters = Sequence[NDArray[np.int64]]


@dataclass(frozen=True)
class Asked:
    """A query of a batch.

    Attributes:
        query: features, intrinsics and image.
        prior: an approximate pose of the camera, if one is known.
        clock: takes the time of its stages.
        candidates: a ranking of references that replaces retrieval, or None.
    """

    query: Query
    prior: PosePrior | None
    clock: StageClock
    candidates: NDArray[np.int64] | None


@runtime_checkable
class BatchMatcher(Protocol):
    """A matcher that is quicker with several queries at once."""

    def of_batch(
        self, queries: Sequence[Query], clusters: Sequence[Clusters]
    ) -> list[Correspondences]:
        """Return what the matcher gives for each query and its clusters of references."""
        ...


def match_together(
    match: Matcher, queries: Sequence[Query], clusters: Sequence[Clusters], clock: StageClock
) -> list[Correspondences]:
    """Return the matches of several queries with their clusters, in one batch where it pays.

    Raises:
        DamagedMapError: a tile that one of them needs cannot be read.
    """
    if isinstance(match, BatchMatcher) and len(queries) > 1:
        with clock("match"):
            return match.of_batch(queries, clusters)
    return [match(query, own, clock) for query, own in zip(queries, clusters, strict=True)]


def localize_batch(stages: Pipeline, batch: Sequence[Asked], pool: Executor) -> list[Localization]:
    """Localize several queries; what a damaged map stops is a failure of that query alone.

    Args:
        stages: of the method, and the map.
        batch: the queries.
        pool: estimates their poses.
    """
    results: dict[int, Localization] = {}
    clusters: dict[int, Clusters] = {}
    for index, asked in enumerate(batch):
        try:
            stages.map.check()
            with asked.clock("retrieve"):
                clusters[index] = stages.retrieve(
                    asked.query.features, asked.prior, stages.unusable, asked.candidates
                )
        except DamagedMapError as error:
            results[index] = damaged(error, asked.clock)

    def localize(index: int, ways: tuple[tuple[Way, Matcher], ...]) -> Localization:
        """Go through the method, in which the clusters and some matches are known already."""
        asked = batch[index]
        known = replace(stages, retrieve=lambda *_: clusters[index], ways=ways)
        return localize_query(known, asked.query, asked.prior, asked.clock)

    (way, match), *others = stages.ways
    to_match = {index: found for index, found in clusters.items() if found}
    results |= {i: localize(i, stages.ways) for i in clusters if i not in to_match}  # says why not
    first = {
        index: pool.submit(localize, index, ((way, KnownMatches(match.unusable, matches)),))
        for index, matches in _matched(stages, batch, to_match, results)
    }
    for index, running in first.items():
        try:
            results[index] = running.result()
            # Networks are for one thread at a time: other ways are for this one.
            if others and in_doubt(results[index]):
                again = localize(index, tuple(others))
                results[index] = most_believable([results[index], again])
        except DamagedMapError as error:
            results[index] = damaged(error, batch[index].clock)
    return [results[index] for index in range(len(batch))]


@dataclass(frozen=True)
class KnownMatches:
    """A matcher that has matched one query before.

    Attributes:
        unusable: see Matcher.
        matches: of the query with its clusters.
    """

    unusable: NDArray[np.int64]
    matches: Correspondences

    def __call__(self, query: Query, clusters: Clusters, clock: StageClock) -> Correspondences:
        """Return the matches; see Matcher."""
        return self.matches

    def warm_up(self) -> None:
        """Load nothing."""


def damaged(error: DamagedMapError, clock: StageClock) -> LocalizationFailure:
    """Return the failure of a query that needed a part of the map that cannot be read."""
    return LocalizationFailure(FailureReason.DAMAGED_MAP, str(error), clock.seconds)


def _matched(
    stages: Pipeline,
    batch: Sequence[Asked],
    clusters: dict[int, Clusters],
    results: dict[int, Localization],
) -> Iterator[tuple[int, Correspondences]]:
    """Yield the matches of queries by their index; those that cannot be matched get a result."""
    match = stages.match
    if isinstance(match, BatchMatcher) and len(clusters) > 1:
        common = StageClock(stages.mark)
        queries = [batch[index].query for index in clusters]
        try:
            found = match_together(match, queries, list(clusters.values()), common)
        except DamagedMapError:
            pass  # one after the other, to tell whose references cannot be read
        else:
            for index in clusters:
                batch[index].clock.take_share(common, len(clusters))
            yield from zip(clusters, found, strict=True)
            return
    for index, of_query in clusters.items():
        try:
            yield index, match(batch[index].query, of_query, batch[index].clock)
        except DamagedMapError as error:
            results[index] = damaged(error, batch[index].clock)
