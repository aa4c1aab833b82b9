"""Which reference images show the place of the query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from deviloc_ros.config import RetrievalConfig
from deviloc_ros.localization.retrieval.global_descriptor import describe
from deviloc_ros.localization.retrieval.similarity_index import SimilarityIndex
from deviloc_ros.localization.types import Features, PosePrior
from deviloc_ros.maps.map import Map

MIN_SHARED_POINTS = 10


class Retrieve(Protocol):
    """What `Retrieval` does."""

    def __call__(
        self,
        query: Features,
        prior: PosePrior | None,
        excluded: NDArray[np.int64] | None = None,
        candidates: NDArray[np.int64] | None = None,
    ) -> Sequence[NDArray[np.int64]]:
        """Choose K references and group them by covisibility; see `Retrieval`."""
        ...


class Retrieval:
    """Ranks the references of a map for a query."""

    def __init__(self, reference_map: Map, config: RetrievalConfig, device: torch.device) -> None:
        """Prepare the comparison with global descriptors on the device."""
        self._map = reference_map
        self._config = config
        self._codebook = torch.from_numpy(np.array(reference_map.codebook)).to(device)
        self._index = SimilarityIndex(reference_map.global_descriptors, device)
        self._centres, self._axes = reference_map.viewpoints

    def __call__(
        self,
        query: Features,
        prior: PosePrior | None,
        excluded: NDArray[np.int64] | None = None,
        candidates: NDArray[np.int64] | None = None,
    ) -> Sequence[NDArray[np.int64]]:
        """Choose K references and group them by covisibility.

        Args:
            query: features of the query.
            prior: references far from it are not considered.
            excluded: references not to be used, such as the query itself.
            candidates: a ranking from elsewhere, best first, that replaces the similarity of
                descriptors.

        Returns:
            Clusters of reference indices, the largest (then the most similar) first; best reference
            first in each. Empty where no reference is left.
        """
        allowed, count = self._allowed(prior, excluded)
        if candidates is None:
            chosen = self._index.nearest(describe(query, self._codebook), allowed, count)
        else:
            chosen = candidates[allowed[candidates]][:count]
        return self._grouped(chosen, prior)

    def _allowed(
        self, prior: PosePrior | None, excluded: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.bool_], int]:
        """Return which references (R,) may be chosen, and how many at most."""
        allowed = np.ones(len(self._centres), dtype=np.bool_)
        if excluded is not None:
            allowed[excluded] = False
        if prior is not None:
            allowed &= self._near(prior)
        count = self._config.num_references
        if prior is not None and prior.num_references is not None:
            count = prior.num_references
        return allowed, count

    def _grouped(
        self, chosen: NDArray[np.int64], prior: PosePrior | None
    ) -> list[NDArray[np.int64]]:
        """Return the clusters of chosen references (K,), the most similar first."""
        if not len(chosen):
            return []
        here = prior.map_from_body.translation if prior is not None else self._centres[chosen[0]]
        self._map.approach(here)
        if not self._config.cluster:
            return [chosen]
        shares = self._map.shared_points(chosen) >= MIN_SHARED_POINTS
        count, label = connected_components(shares.astype(np.int8), directed=False)
        clusters = [chosen[label == i] for i in range(count)]
        return sorted(clusters, key=lambda cluster: -len(cluster))

    def _near(self, prior: PosePrior) -> NDArray[np.bool_]:
        """Return which references could see what a camera within the prior's gate sees."""
        gate = self._config.prior_sigmas
        shift = np.abs(self._centres - prior.map_from_body.translation)
        beyond = np.linalg.norm(np.maximum(shift - gate * prior.axis_sigmas, 0), axis=1)
        axis = prior.map_from_body.rotation.as_matrix()[:, 2]
        angle = np.arccos(np.clip(self._axes @ axis, -1.0, 1.0))
        return np.asarray(
            (beyond <= self._config.prior_reach)
            & (angle <= gate * prior.rotation_sigma + np.radians(self._config.prior_angle))
        )
