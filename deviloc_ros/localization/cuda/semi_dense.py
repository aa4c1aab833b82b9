"""XFeat*'s matching as a CUDA device computes it: tensors in, tensors out, and nothing waits.

Shapes do not depend on what is found: matches that there are not are computed as well, for the host
to drop at the end. So it can be recorded as a graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.cuda.stored_references import StoredReferences
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.descriptor_codes import rounded
from deviloc_ros.models.cuda import products_of_halves, upload
from deviloc_ros.models.xfeat import load_xfeat

# Pairs that the fine matcher sees at once: 256 MB of intermediate results.
PAIRS_AT_ONCE = 1 << 15
# Columns of a match that is downloaded; those of `StoredReferences.lifted` follow.
QUERY_KEYPOINT, FINE_CONFIDENCE, FOUND, FEATURE, PLACE = slice(0, 2), 2, 3, 4, 5
PACKED_SIZE = 6


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


class SemiDense:
    """Matches queries with stored references."""

    def __init__(
        self, stored: StoredReferences, calibration: Calibration, config: LocalizerConfig
    ) -> None:
        """Load the fine matcher onto the device.

        Args:
            stored: the references.
            calibration: of their map.
            config: `matching.num_matches` and `cuda.precision`.

        Raises:
            InputError: the weights are missing.
        """
        self._stored = stored
        self._device = stored.descriptors.device
        self._dtype: torch.dtype = getattr(torch, config.cuda.precision)
        _, fine = load_xfeat()
        self._fine = fine.to(self._device, self._dtype)
        self._bias = upload(np.array(calibration.offset_bias, dtype=np.float32), self._device)
        self._pull = upload(np.array(calibration.offset_pull, dtype=np.float32), self._device)
        self._num_matches = config.matching.num_matches

    def of_query(
        self,
        keypoints: Tensor,
        descriptors: Tensor,
        scales: Tensor,
        levels: Tensor,
        half: Tensor,
        places: Tensor,
    ) -> tuple[Tensor]:
        """Match the features of a query (N) with the references at places (K,).

        Args:
            keypoints: see Features, as the three that follow.
            descriptors: (N, D).
            scales: (N,).
            levels: (N,).
            half: (2,) float32, half of the image's width and height.
            places: (K,) int64.

        Returns:
            The columns of all matches, (K, n, 13).
        """
        query = self.asked(keypoints, descriptors, scales, levels, half)
        return (self.refined(query, places, self.coarse(query, places)),)

    def of_queries(
        self,
        keypoints: Tensor,
        descriptors: Tensor,
        scales: Tensor,
        levels: Tensor,
        half: Tensor,
        owner: Tensor,
        places: Tensor,
    ) -> tuple[Tensor]:
        """Do what `of_query` does with pairs of a query, `owner` (K,), and a reference.

        Those of all queries (Q) are (Q, N, D) and so on; `half` is (Q, 1, 2).
        """
        every = self.asked(keypoints, descriptors, scales, levels, half)
        query = DeviceQuery(
            every.descriptors[owner], every.rounded[owner], every.length[owner],
            every.offsets[owner],
        )  # fmt: skip
        return (self.refined(query, places, self.coarse(query, places)),)

    def asked(
        self,
        keypoints: Tensor,
        descriptors: Tensor,
        scales: Tensor,
        levels: Tensor,
        half: Tensor | None,
    ) -> DeviceQuery:
        """Return a query, its keypoints shifted against the pull on matches (OffsetBias).

        Without half of the image's size they are not shifted. See `of_query` and `of_queries`.
        """
        levels = levels.long()
        if half is not None:
            pull = self._pull[levels] * (keypoints / half - 1)
            keypoints = torch.addcmul(keypoints, pull, scales[..., None], value=-1)
        return DeviceQuery(
            descriptors,
            rounded(descriptors),
            torch.linalg.vector_norm(descriptors, dim=-1),
            torch.cat([keypoints, scales[..., None], self._bias[levels]], dim=-1),
        )

    def coarse(self, query: DeviceQuery, places: Tensor) -> PaddedPairs:
        """Return mutual nearest neighbours, of each reference the most similar ones."""
        stored = self._stored
        every = query.rounded.expand(len(places), -1, -1)
        # float16 holds what is stored, and float32 the sums: nothing is rounded.
        similarity = products_of_halves(every, stored.descriptors[places].mT)
        if stored.padded:
            similarity += stored.absent[places]
        value, nearest = similarity.max(dim=2)
        back = similarity.argmax(dim=1).gather(1, nearest)
        mutual = back == torch.arange(nearest.shape[1], device=self._device)
        found = mutual & stored.usable[places].gather(1, nearest)
        cosine = value / (stored.length[places].gather(1, nearest) * query.length)
        count = min(self._num_matches, nearest.shape[1])
        likely = torch.where(found, cosine, -torch.inf).topk(count, dim=1, sorted=False).indices
        best = likely.sort(dim=1).values
        return PaddedPairs(best, nearest.gather(1, best), found.gather(1, best))

    def most_similar(self, query: DeviceQuery, places: Tensor, pairs: PaddedPairs) -> PaddedPairs:
        """Return the pairs whose points can be used, of each reference the most similar ones."""
        found = pairs.found & self._stored.usable[places].gather(1, pairs.reference)
        count = min(self._num_matches, found.shape[1])
        if count == found.shape[1]:
            return PaddedPairs(pairs.query, pairs.reference, found)
        feature = places[:, None] * self._stored.padded_length + pairs.reference
        cosine = torch.cosine_similarity(
            query.descriptors[pairs.query],
            self._stored.descriptors.flatten(0, 1)[feature].float(),
            dim=2,
        )
        likely = torch.where(found, cosine, -torch.inf).topk(count, dim=1, sorted=False).indices
        best = likely.sort(dim=1).values
        return PaddedPairs(
            *(each.gather(1, best) for each in (pairs.query, pairs.reference, found))
        )

    def refined(self, query: DeviceQuery, places: Tensor, pairs: PaddedPairs) -> Tensor:
        """Return the columns of all matches, (K, n, 13)."""
        size = *pairs.query.shape, query.descriptors.shape[-1]
        feature = places[:, None] * self._stored.padded_length + pairs.reference
        descriptors = self._stored.descriptors.flatten(0, 1)[feature]
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
                places[:, None, None].expand(*size[:2], 1),
                self._stored.lifted.flatten(0, 1)[feature],
            ],
            dim=2,
        )


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """Return rows (K, n, D) of (N, D) for all K, or of each its own of (K, N, D)."""
    if values.dim() == 2:
        return values[index]
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[2]))
