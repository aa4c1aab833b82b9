"""XFeat*'s matching on a CUDA device: all references of all queries at once, one download.

Shapes do not depend on what is found: matches that there are not are computed as well and dropped
at the end, by the host. So nothing waits for the device before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.cuda.stored_references import (
    CONFIDENCE,
    DEPTH_SIGMA,
    KEYPOINT,
    LIFTED_SIZE,
    POINT,
    StoredReferences,
)
from deviloc_ros.localization.matching import SemiDenseMatches
from deviloc_ros.localization.stage_clock import StageClock
from deviloc_ros.localization.types import Correspondences, Features, Query
from deviloc_ros.maps.descriptor_codes import rounded
from deviloc_ros.maps.map import Map
from deviloc_ros.models.cuda import upload
from deviloc_ros.models.xfeat import load_xfeat

# Similarities of features that exist at once: 1 GiB of float32.
MAX_SIMILARITIES = 1 << 28
# Pairs that the fine matcher sees at once: 256 MB of intermediate results.
PAIRS_AT_ONCE = 1 << 15
# Columns of a match that is downloaded; those of `StoredReferences.lifted` follow.
QUERY_KEYPOINT, FINE_CONFIDENCE, FOUND, FEATURE = slice(0, 2), 2, 3, 4
PACKED_SIZE = 5
CAMERAS_KEPT = 16


@dataclass(frozen=True)
class PaddedPairs:
    """Coarse matches of a query with K references, at most n with each.

    Attributes:
        query: (K, n) int64 tensor, features of the query.
        reference: (K, n) int64 tensor, features of the references.
        found: (K, n) bool tensor, which of them are matches.
    """

    query: Tensor
    reference: Tensor
    found: Tensor

    def select(self, part: slice) -> PaddedPairs:
        """Return those with some of the references."""
        return PaddedPairs(self.query[part], self.reference[part], self.found[part])


@dataclass(frozen=True)
class DeviceQuery:
    """What matching needs of a query, on the device; or of K queries, one for each reference.

    Those of several queries have one more dimension in front.

    Attributes:
        descriptors: (N, D) float32.
        rounded: (N, D) float32, the same as maps store descriptors (maps/descriptor_codes.py): what
            coarse matching compares, here as on the CPU. Sums of such products are exact.
        length: (N,) float32, norms of the descriptors.
        offsets: (N, 5) float32: keypoint x and y without the pull, scale, and the bias of fine
            offsets in x and y.
    """

    descriptors: Tensor
    rounded: Tensor
    length: Tensor
    offsets: Tensor


class CudaMatcher:
    """Does what SemiDenseMatcher does; the 3D points come with the matches."""

    unusable = np.zeros(0, dtype=np.int64)

    def __init__(self, reference_map: Map, config: LocalizerConfig, device: torch.device) -> None:
        """Load the fine matcher, and make room for the references.

        Raises:
            InputError: the weights are missing, or `cuda.memory_mb` is too small.
        """
        self._map = reference_map
        self._device = device
        self._dtype: torch.dtype = getattr(torch, config.cuda.precision)
        _, fine = load_xfeat()
        self._fine = fine.to(device, self._dtype)
        calibration = reference_map.calibration
        self._bias = upload(np.array(calibration.offset_bias, dtype=np.float32), device)
        self._pull = upload(np.array(calibration.offset_pull, dtype=np.float32), device)
        self._fine_confidence = config.matching.fine_confidence
        self._num_matches = config.matching.num_matches
        self._halves: LRUCache[tuple[int, int], Tensor] = LRUCache(CAMERAS_KEPT)
        self.stored = StoredReferences(
            reference_map, device, config.cuda.memory_mb, config.aggregation.min_confidence
        )

    def __call__(
        self, query: Query, clusters: Sequence[NDArray[np.int64]], clock: StageClock
    ) -> Correspondences:
        """Match a query to references and look the 3D points up; see Matcher."""
        with clock("match"):
            references = np.concatenate(clusters)
            return self._lifted(references, self._downloaded(self._asked(query), references))

    def match(self, query: Features, references: NDArray[np.int64]) -> SemiDenseMatches:
        """Match features of a query to references of the map; see SemiDenseMatcher."""
        row, found = self._downloaded(self._asked_without_pull(query), references)
        of_reference = references[row]
        return SemiDenseMatches(
            found[:, QUERY_KEYPOINT].astype(np.float64),
            of_reference,
            found[:, FEATURE].astype(np.int64) + self._map.feature_offsets[of_reference],
        )

    def corresponding(
        self,
        query: Query,
        references: NDArray[np.int64],
        pairs: PaddedPairs,
        min_confidence: float,
    ) -> Correspondences:
        """Refine coarse matches and look their 3D points up; see SemiDenseMatcher.

        Args:
            query: the image and its features.
            references: indices (K,).
            pairs: of each.
            min_confidence: of the fine offsets.
        """
        asked, at_once = self._asked(query), self.stored.places
        refined = []
        with torch.inference_mode():
            for first in range(0, len(references), at_once):
                part = slice(first, first + at_once)
                places = self.stored.places_of(references[part])
                certain = self._most_similar(asked, places, pairs.select(part))
                refined.append(self._refined(asked, places, certain))
        return self._lifted(references, self._kept(refined, min_confidence))

    def warm_up(self) -> None:
        """Upload the references; those of a map of tiles come when they are used."""
        if type(self._map) is Map:
            self.stored.preload()

    def _downloaded(
        self, query: DeviceQuery, references: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the row in `references` of each match, (N,), and its columns, (N, 12)."""
        at_once = self._at_once(len(query.descriptors))
        refined = []
        with torch.inference_mode():
            for first in range(0, len(references), at_once):
                places = self.stored.places_of(references[first : first + at_once])
                refined.append(self._refined(query, places, self._coarse(query, places)))
        return self._kept(refined, self._fine_confidence)

    def _at_once(self, num_features: int) -> int:
        """Return with how many references so many features are compared at once."""
        size = max(1, num_features * self.stored.padded_length)
        return min(self.stored.places, max(1, MAX_SIMILARITIES // size))

    def _coarse(self, query: DeviceQuery, places: Tensor) -> PaddedPairs:
        """Return mutual nearest neighbours, of each reference the most similar ones."""
        stored = self.stored
        reference = stored.descriptors[places].float()
        every = query.rounded.expand(len(places), -1, -1)
        similarity = torch.baddbmm(stored.absent[places], every, reference.mT)
        value, nearest = similarity.max(dim=2)
        back = similarity.argmax(dim=1).gather(1, nearest)
        mutual = back == torch.arange(nearest.shape[1], device=self._device)
        found = mutual & stored.usable[places].gather(1, nearest)
        cosine = value / (stored.length[places].gather(1, nearest) * query.length)
        count = min(self._num_matches, nearest.shape[1])
        likely = torch.where(found, cosine, -torch.inf).topk(count, dim=1, sorted=False).indices
        best = likely.sort(dim=1).values
        return PaddedPairs(best, nearest.gather(1, best), found.gather(1, best))

    def _most_similar(self, query: DeviceQuery, places: Tensor, pairs: PaddedPairs) -> PaddedPairs:
        """Return the pairs whose points can be used, of each reference the most similar ones."""
        found = pairs.found & self.stored.usable[places].gather(1, pairs.reference)
        count = min(self._num_matches, found.shape[1])
        if count == found.shape[1]:
            return PaddedPairs(pairs.query, pairs.reference, found)
        feature = places[:, None] * self.stored.padded_length + pairs.reference
        cosine = torch.cosine_similarity(
            query.descriptors[pairs.query],
            self.stored.descriptors.flatten(0, 1)[feature].float(),
            dim=2,
        )
        likely = torch.where(found, cosine, -torch.inf).topk(count, dim=1, sorted=False).indices
        best = likely.sort(dim=1).values
        return PaddedPairs(
            *(each.gather(1, best) for each in (pairs.query, pairs.reference, found))
        )

    def _refined(self, query: DeviceQuery, places: Tensor, pairs: PaddedPairs) -> Tensor:
        """Return the columns of all matches, (K, n, 12)."""
        size = *pairs.query.shape, query.descriptors.shape[-1]
        feature = places[:, None] * self.stored.padded_length + pairs.reference
        descriptors = self.stored.descriptors.flatten(0, 1)[feature]
        both = torch.cat([_rows(query.descriptors, pairs.query), descriptors], dim=2)
        flat = both.view(-1, 2 * size[2]).to(self._dtype)
        fine = [self._fine(part) for part in torch.split(flat, PAIRS_AT_ONCE)]
        parts = [torch.cat(each) if len(each) > 1 else each[0] for each in zip(*fine, strict=True)]
        offset, confidence = (part.float().view(*size[:2], -1) for part in parts)
        place, scale, bias = torch.split(_rows(query.offsets, pairs.query), [2, 1, 2], dim=2)
        return torch.cat(
            [
                torch.addcmul(place, offset - bias, scale),
                confidence,
                pairs.found[..., None],
                pairs.reference[..., None],
                self.stored.lifted.flatten(0, 1)[feature],
            ],
            dim=2,
        )

    def _kept(
        self, refined: Sequence[Tensor], min_confidence: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Download matches; return those that were found and are sure enough, as `_downloaded`."""
        if not refined:
            return np.zeros(0, np.int64), np.zeros((0, PACKED_SIZE + LIFTED_SIZE), np.float32)
        packed = refined[0] if len(refined) == 1 else torch.cat(list(refined))
        found = packed.cpu().numpy()
        kept = (found[..., FOUND] > 0) & (found[..., FINE_CONFIDENCE] > min_confidence)
        return np.nonzero(kept)[0], found[kept]

    def _lifted(
        self,
        references: NDArray[np.int64],
        found: tuple[NDArray[np.int64], NDArray[np.float32]],
    ) -> Correspondences:
        """Return downloaded matches with their 3D points in the map frame."""
        row, columns = found
        values = columns.astype(np.float64)
        lifted = values[:, PACKED_SIZE:]
        return Correspondences(
            keypoints=values[:, QUERY_KEYPOINT],
            points3d=lifted[:, POINT] + self._map.origin,
            confidence=lifted[:, CONFIDENCE],
            reference=references[row],
            reference_keypoints=lifted[:, KEYPOINT],
            depth_sigma=None if self._map.depth_sigma is None else lifted[:, DEPTH_SIGMA],
        )

    @torch.inference_mode()
    def _asked(self, query: Query) -> DeviceQuery:
        """Return a query, its keypoints shifted against the pull on matches (OffsetBias)."""
        features, size = query.features, (query.camera.width, query.camera.height)
        half = self._halves.get(size)
        if half is None:
            half = self._halves[size] = upload(np.array(size, np.float32) / 2, self._device)
        levels = features.levels.long()
        pull = self._pull[levels] * (features.keypoints / half - 1)
        keypoints = torch.addcmul(features.keypoints, pull, features.scales[:, None], value=-1)
        return self._with_offsets(features, keypoints, levels)

    @torch.inference_mode()
    def _asked_without_pull(self, features: Features) -> DeviceQuery:
        return self._with_offsets(features, features.keypoints, features.levels.long())

    def _with_offsets(self, features: Features, keypoints: Tensor, levels: Tensor) -> DeviceQuery:
        scales = features.scales[:, None]
        return DeviceQuery(
            features.descriptors,
            rounded(features.descriptors),
            torch.linalg.vector_norm(features.descriptors, dim=1),
            torch.cat([keypoints, scales, self._bias[levels]], dim=1),
        )


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Return rows (K, n, D) of (N, D) for all K, or of each its own of (K, N, D)."""
    if values.dim() == 2:
        return values[index]
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
