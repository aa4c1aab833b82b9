"""Semi-dense matches by XFeat*'s two steps: nearest neighbours, then where in the cell."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.matching.matcher import SemiDenseMatches
from deviloc_ros.localization.matching.mutual_nearest_neighbours import (
    Pairs,
    mutual_nearest_neighbours,
)
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Features, Query
from deviloc_ros.maps.descriptor_codes import decoded, encoded
from deviloc_ros.maps.map import Map
from deviloc_ros.models.runtime import has_integer_products, prepare
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE, load_xfeat, with_integer_products

# Networks compiled for one shape run fastest; matches come in any number.
REFINEMENT_BATCH = 512


@dataclass(frozen=True)
class StoredReference:
    """A reference's features in memory.

    Attributes:
        descriptors: (M, D) float32.
        length: (M,) float32, their norms.
        codes: (M, D), what coarse matching compares.
        lifted: (M,) bool, whose 3D point is certain enough to be used; the others only compete.
    """

    descriptors: torch.Tensor
    length: torch.Tensor
    codes: torch.Tensor
    lifted: torch.Tensor


class SemiDenseMatcher:
    """Coarse mutual nearest neighbours, then sub-cell refinement on the query's side, on the CPU.

    The 3D points of all features are in the map, observed or inferred (see lifting.py).
    """

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(self, reference_map: Map, config: LocalizerConfig) -> None:
        """Load the fine matcher; descriptors of references are loaded when first used."""
        _, exact = load_xfeat()
        backend, device = config.features.backend, torch.device("cpu")
        integer = has_integer_products(backend, device)
        fine = with_integer_products(exact) if integer else exact
        example = torch.zeros(REFINEMENT_BATCH, 2 * DESCRIPTOR_SIZE)
        self._refine = prepare(fine, backend, device, example)
        self._map = reference_map
        self._fine_confidence = config.matching.fine_confidence
        self._bias = torch.from_numpy(reference_map.calibration.offset_bias).float()
        self._pull = torch.from_numpy(reference_map.calibration.offset_pull).float()
        self._num_matches = config.matching.num_matches
        self._min_confidence = config.aggregation.min_confidence
        self._stored: LRUCache[int, StoredReference] = LRUCache(config.matching.cached_references)
        # References share the cores; torch's own threads within one would wait for each other.
        threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(threads, "matching", torch.set_num_threads, (1,))

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references and look the 3D points up; see Matcher."""
        with clock("match"):
            matches = self.match(self.without_pull(query), np.concatenate(clusters))
        with clock("lift"):
            return self.lift(matches)

    def warm_up(self) -> None:
        """Load nothing: what references need is made when they are first used."""

    def corresponding(
        self,
        query: Query,
        references: NDArray[np.int64],
        pairs: Sequence[Pairs],
        min_confidence: float,
    ) -> Correspondences:
        """Refine coarse matches, of each reference the pairs, and look their 3D points up."""
        features = self.without_pull(query)
        return self.lift(self.refine(features, references, pairs, min_confidence))

    def lift(self, matches: SemiDenseMatches) -> Correspondences:
        """Look the 3D points of matches up."""
        points = np.asarray(self._map.feature_points[matches.feature], dtype=np.float64)
        keypoints = self._map.keypoints[matches.feature]
        return Correspondences(
            keypoints=matches.keypoints,
            points3d=points + self._map.origin,
            confidence=np.asarray(self._map.confidence[matches.feature], dtype=np.float64),
            reference=matches.reference,
            reference_keypoints=np.asarray(keypoints, dtype=np.float64),
            depth_sigma=None
            if self._map.depth_sigma is None
            else np.asarray(self._map.depth_sigma[matches.feature], dtype=np.float64),
        )

    def without_pull(self, query: Query) -> Features:
        """Return the query's features, shifted against the pull on matches (OffsetBias)."""
        features, camera = query.features, query.camera
        half = torch.tensor([camera.width / 2, camera.height / 2])
        pull = self._pull[features.levels.long()] * (features.keypoints / half - 1)
        return replace(features, keypoints=features.keypoints - pull * features.scales[:, None])

    def match(self, query: Features, references: NDArray[np.int64]) -> SemiDenseMatches:
        """Match features of a query to references of the map, all in one batch."""
        coarse = encoded(query.descriptors)
        codes = [self._reference(int(index)).codes for index in references]
        return self.refine(query, references, mutual_nearest_neighbours(coarse, codes, self._pool))

    def refine(
        self,
        query: Features,
        references: NDArray[np.int64],
        pairs: Sequence[Pairs],
        min_confidence: float | None = None,
    ) -> SemiDenseMatches:
        """Move coarse matches to where the fine matcher sees them, and keep those it is sure of.

        Args:
            query: features.
            references: indices of references, (K,).
            pairs: of each, features of the query and of the reference.
            min_confidence: of the fine offsets; None: `matching.fine_confidence`.
        """
        loaded = [self._reference(int(index)) for index in references]
        length = torch.linalg.vector_norm(query.descriptors, dim=1)
        query_index, pair_descriptors, reference, feature = [], [], [], []
        for index, stored, (of_query, of_reference) in zip(references, loaded, pairs, strict=True):
            lifted = stored.lifted[of_reference]
            of_query, of_reference = of_query[lifted], of_reference[lifted]
            pair = query.descriptors[of_query], stored.descriptors[of_reference]
            if len(of_query) > self._num_matches:
                cosine = (pair[0] * pair[1]).sum(dim=1)
                cosine /= length[of_query] * stored.length[of_reference]
                best = torch.sort(cosine.topk(self._num_matches).indices).values
                of_query, of_reference = of_query[best], of_reference[best]
                pair = pair[0][best], pair[1][best]
            query_index.append(of_query)
            pair_descriptors.append(torch.cat(pair, dim=1))
            reference.append(np.full(len(of_query), index, dtype=np.int64))
            feature.append(of_reference.numpy() + self._map.feature_offsets[index])
        queries = torch.cat(query_index)
        offset, confidence = self._refined(torch.cat(pair_descriptors))
        offset = offset - self._bias[query.levels[queries].long()]
        keypoints = query.keypoints[queries] + offset * query.scales[queries][:, None]
        least = self._fine_confidence if min_confidence is None else min_confidence
        kept = (confidence > least).numpy()
        return SemiDenseMatches(
            keypoints.numpy().astype(np.float64)[kept],
            np.concatenate(reference)[kept],
            np.concatenate(feature)[kept],
        )

    def _refined(self, pairs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Run the fine matcher in batches of one size."""
        count = len(pairs)
        missing = -count % REFINEMENT_BATCH
        padded = torch.cat([pairs, pairs.new_zeros(missing, pairs.shape[1])])
        results = [self._refine(batch) for batch in torch.split(padded, REFINEMENT_BATCH)]
        if not results:
            return pairs.new_zeros(0, 2), pairs.new_zeros(0)
        offset, confidence = (torch.cat(part)[:count] for part in zip(*results, strict=True))
        return offset, confidence

    def _reference(self, index: int) -> StoredReference:
        """Return what matching needs of a reference."""
        if (known := self._stored.get(index)) is not None:
            return known
        rows = self._map.features_of(index)
        descriptors = torch.from_numpy(decoded(self._map.descriptors[rows])).float()
        lifted = torch.from_numpy(self._map.confidence[rows] > self._min_confidence)
        self._stored[index] = entry = StoredReference(
            descriptors,
            torch.linalg.vector_norm(descriptors, dim=1),
            encoded(descriptors),
            lifted,
        )
        return entry
