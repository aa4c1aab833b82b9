"""Which reference images show the place of the query.

The global descriptor is a VLAD (Jegou et al., "Aggregating local descriptors into a compact image
representation", CVPR 2010) of the matcher's own local descriptors, normalised per word
(Arandjelovic and Zisserman, "All about VLAD", CVPR 2013), over a codebook made from the map.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.sparse.csgraph import connected_components

from deviloc_ros.config import RetrievalConfig
from deviloc_ros.localization.features import normalised
from deviloc_ros.localization.similarity_index import SimilarityIndex
from deviloc_ros.localization.types import Features, PosePrior
from deviloc_ros.maps.descriptor_codes import decoded
from deviloc_ros.maps.map import Map

CODEBOOK_SIZE = 64
CODEBOOK_SAMPLES = 60_000
MIN_SHARED_POINTS = 10


def sample_descriptors(parts: Sequence[NDArray[Any]], seed: int) -> NDArray[np.float32]:
    """Return descriptors (N, D) of all parts, a bounded number of them, to make a codebook of.

    Args:
        parts: (M, D) each, floats or as maps store them.
        seed: of the choice.
    """
    each = max(1, CODEBOOK_SAMPLES // len(parts))
    generator = np.random.default_rng(seed)
    chosen = [decoded(part[generator.permutation(len(part))[:each]]) for part in parts]
    return np.concatenate(chosen).astype(np.float32, copy=False)


def make_codebook(descriptors: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Cluster a sample of descriptors (N, D) into words (C, D) of unit length."""
    unit = descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-9)
    size = min(CODEBOOK_SIZE, len(unit))
    with warnings.catch_warnings():
        # A word that no descriptor is nearest to stays where it began, which does no harm.
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        words, _ = kmeans2(unit, size, iter=20, minit="points", rng=np.random.default_rng(seed))
    norms = np.linalg.norm(words, axis=1, keepdims=True)
    return np.asarray(words / np.maximum(norms, 1e-9), dtype=np.float32)


def describe(features: Features, codebook: torch.Tensor) -> torch.Tensor:
    """Return the global descriptor (C * D,) of an image, unit length."""
    local = normalised(features.descriptors)
    word = (local @ codebook.T).argmax(dim=1)
    residual = local - codebook[word]
    # A product with the one-hot assignment sums in a fixed order, which index_add on CUDA does not.
    member = torch.nn.functional.one_hot(word, len(codebook)).to(local.dtype)
    return normalised(normalised(member.T @ residual).flatten())


def describe_reference(
    reference_map: Map, index: int, codebook: torch.Tensor
) -> NDArray[np.float16]:
    """Return the global descriptor (C * D,) of a reference by these words (C, D)."""
    stored = decoded(reference_map.descriptors[reference_map.features_of(index)])
    empty = torch.zeros(0)
    features = Features(empty, torch.from_numpy(stored).float(), empty, empty)
    return describe(features, codebook).numpy().astype(np.float16)


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
    ) -> list[NDArray[np.int64]]:
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
        allowed = np.ones(len(self._centres), dtype=np.bool_)
        if excluded is not None:
            allowed[excluded] = False
        if prior is not None:
            allowed &= self._near(prior)
        count = self._config.num_references
        if prior is not None and prior.num_references is not None:
            count = prior.num_references
        if candidates is None:
            chosen = self._index.nearest(describe(query, self._codebook), allowed, count)
        else:
            chosen = candidates[allowed[candidates]][:count]
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
