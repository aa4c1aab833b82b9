"""What matches queries with references, as the method and the backends see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Features, Query


class Matcher(Protocol):
    """Matches a query with references of a map and gives every match its 3D point."""

    @property
    def unusable(self) -> NDArray[np.int64]:
        """Indices of the references that it cannot match with."""
        ...

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references of the map, all in one batch.

        Args:
            query: the image and its features.
            clusters: indices of references, of each place that the query may show.
            clock: takes the time of every stage.
        """
        ...

    def warm_up(self) -> None:
        """Load what can be loaded before the first query comes."""
        ...


PairsT = TypeVar("PairsT", contravariant=True)


@dataclass(frozen=True)
class SemiDenseMatches:
    """2D-2D matches of one query to several references.

    Attributes:
        keypoints: (N, 2) float64, refined query pixels.
        reference: (N,) int64, index of the reference in the map.
        feature: (N,) int64, index of the matched feature in the map's feature arrays.
    """

    keypoints: NDArray[np.float64]
    reference: NDArray[np.int64]
    feature: NDArray[np.int64]


class DenseMatcher(Matcher, Protocol):
    """A matcher of dense features of queries and references."""

    def match(self, query: Features, references: NDArray[np.int64]) -> SemiDenseMatches:
        """Match features of a query to references of the map, all in one batch."""
        ...


class Refiner(Protocol[PairsT]):
    """Makes 2D-3D matches of coarse matches, which are of a type of a backend's own."""

    def corresponding(
        self, query: Query, references: NDArray[np.int64], pairs: PairsT, min_confidence: float
    ) -> Correspondences:
        """Refine coarse matches and look their 3D points up.

        Args:
            query: the image and its features.
            references: indices (K,).
            pairs: coarse matches with them.
            min_confidence: of the fine offsets, exclusive.
        """
        ...
