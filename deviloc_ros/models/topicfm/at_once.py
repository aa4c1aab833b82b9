"""TopicFM-fast on a GPU: a query with references of one size in few launches and one wait.

Where `coarse_matching` looks at blocks of the similarities and decides what to do with each, here
every reference takes the same operations, whatever is in it. The similarities are float32 in every
precision, without the guard that rounded ones need; only their factors are rounded to float16 where
the precision is reduced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deviloc_ros.models.cuda import Recorded, products_of_halves, upload
from deviloc_ros.models.topicfm.fine_matching import refine, window_pixels
from deviloc_ros.models.topicfm.image_features import CoarseTokens, ImageFeatures, TokenMean
from deviloc_ros.models.topicfm.matcher import NETWORK_PER_COARSE, TopicFM, centres

# Similarities that exist at once: 512 MiB of float32, which hold all of 864 x 864 pixels.
MAX_SIMILARITIES = 1 << 27
# Pairs of windows, 26 kB each, that go through the fine network at once.
WINDOWS_AT_ONCE = 16384


@dataclass(frozen=True)
class MatchesAtOnce:
    """Matches of a query with K references, those of one behind those of another.

    Attributes:
        query_keypoints: (M, 2), see PairMatches.
        reference_keypoints: (M, 2).
        confidence: (M,).
        counts: of each reference.
    """

    query_keypoints: Tensor
    reference_keypoints: Tensor
    confidence: Tensor
    counts: Sequence[int]


class MatchAtOnce:
    """Matches a query with references whose coarse maps have one size."""

    def __init__(
        self, network: TopicFM, threshold: float, border: int, graphs: bool, device: torch.device
    ) -> None:
        """Use a network.

        Args:
            network: on the device.
            threshold: least coarse confidence, exclusive.
            border: rim of the coarse maps without matches, cells.
            graphs: record the coarse part as CUDA graphs.
            device: where it computes.
        """
        self._network = network
        self._threshold = threshold
        self._border = border
        self._device = device
        self._coarse = Recorded(self._ranked, graphs, device)
        self._described = Recorded(self._describe, graphs, device)

    def encode(self, image: Tensor, scale: Tensor) -> ImageFeatures:
        """Describe an image (1, 1, H, W) of a scale (1, 2); see `TopicFM.encode`."""
        coarse, fine, mean, log_sum = self._described(image)
        grid = (image.shape[2] // NETWORK_PER_COARSE, image.shape[3] // NETWORK_PER_COARSE)
        return ImageFeatures(coarse, TokenMean(mean, log_sum), grid, fine, scale[0])

    def _describe(self, image: Tensor) -> tuple[Tensor, ...]:
        features = self._network.encode(image, torch.ones(1, 2, device=self._device))[0]
        return features.coarse, features.fine, features.gathered.mean, features.gathered.log_sum

    def __call__(self, query: ImageFeatures, references: Sequence[ImageFeatures]) -> MatchesAtOnce:
        """Match a query with references; waits for the number of matches."""
        masks = (
            upload(inside(grid, self._border), self._device)
            for grid in (query.grid, references[0].grid)
        )
        described = [
            part
            for image in (query, *references)
            for part in (image.coarse, image.gathered.mean, image.gathered.log_sum)
        ]
        rows, columns, confidence, found = self._coarse(*masks, *described)
        counts: list[int] = found.tolist()
        size = rows.shape[1]
        first = [np.arange(count) + size * k for k, count in enumerate(counts)]
        index = upload(np.concatenate(first), self._device)
        cells, others = rows.flatten()[index], columns.flatten()[index]
        return self._refined(query, references, counts, cells, others, confidence.flatten()[index])

    def _ranked(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return coarse matches of a query with K references, see `coarse_matches_at_once`.

        Args:
            given: which cells of the query and of the references may match; of the query and of
                each reference coarse tokens and what the seeds gather from them.
        """
        of_query, of_references, *rest = given
        query, *references = (
            CoarseTokens(rest[i], TokenMean(rest[i + 1], rest[i + 2]))
            for i in range(0, len(rest), 3)
        )
        queries, others = self._network.coarse_net(query, references)
        limits = (of_query, of_references), self._threshold
        return coarse_matches_at_once(queries, others, *limits)

    def _refined(
        self,
        query: ImageFeatures,
        references: Sequence[ImageFeatures],
        counts: Sequence[int],
        cells: Tensor,
        others: Tensor,
        confidence: Tensor,
    ) -> MatchesAtOnce:
        """Refine the coarse matches of all references as one batch."""
        index, within = window_pixels(cells, query.grid, query.fine.shape)
        windows = [F.embedding(index, _pixels(query))]
        index, others_within = window_pixels(others, references[0].grid, references[0].fine.shape)
        of_references = [
            F.embedding(part, _pixels(reference))
            for part, reference in zip(torch.split(index, list(counts)), references, strict=True)
        ]
        windows.append(torch.cat(of_references))
        # Most windows are inside of the maps, but to know it would be to wait.
        beyond = ~torch.cat([within, others_within], dim=1)
        pairs = torch.cat(windows, dim=1).masked_fill_(beyond[:, :, None], 0.0)
        refined = [
            refine(*self._network.fine_net(part)) for part in torch.split(pairs, WINDOWS_AT_ONCE)
        ]
        offsets, other_offsets, peaks = (torch.cat(parts) for parts in zip(*refined, strict=True))
        owner = upload(np.repeat(np.arange(len(counts)), counts), self._device)
        scales = torch.stack([reference.scale for reference in references])[owner]
        return MatchesAtOnce(
            (centres(cells, query.grid) + offsets) * query.scale,
            (centres(others, references[0].grid) + other_offsets) * scales,
            peaks * confidence,
            counts,
        )


def coarse_matches_at_once(
    queries: Tensor,
    references: Tensor,
    may_match: tuple[Tensor, Tensor],
    threshold: float,
    max_similarities: int = MAX_SIMILARITIES,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Do what `coarse_matches` does for each of K references; of equal maxima the first counts.

    Args:
        queries: (K, L, 256) features, of the query for each reference.
        references: (K, S, 256) features.
        may_match: (L,) and (S,) bool, cells of the query's and the references' coarse maps that are
            not in their rims.
        threshold: least confidence, exclusive.
        max_similarities: that exist at once.

    Returns:
        Cells of the query and of the references (K, L), their confidence (K, L), the most confident
        first, and how many of the first are matches (K,).
    """
    reduced = torch.is_autocast_enabled("cuda")
    product = products_of_halves if reduced else torch.bmm
    with torch.autocast(queries.device.type, enabled=False):
        scaled = queries.float() / math.sqrt(queries.shape[2])
        others = references.float()
        size = queries.shape[1] * references.shape[1]
        together = max(1, max_similarities // max(size, 1))
        best = [
            _mutual_maxima(*pair, max_similarities, product)
            for pair in zip(
                torch.split(scaled, together), torch.split(others, together), strict=True
            )
        ]
    log_confidence, columns, mutual = (torch.cat(part) for part in zip(*best, strict=True))
    confidence = log_confidence.exp()
    keep = mutual & (confidence > threshold) & may_match[0] & may_match[1][columns]
    ranked = torch.where(keep, confidence, -1.0).sort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, ranked.indices)
    return ranked.indices, columns, ranked.values, keep.sum(dim=1)


def _mutual_maxima(
    query: Tensor,
    reference: Tensor,
    max_similarities: int,
    product: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each row the largest log-confidence, its column, and whether it is the column's.

    Args:
        query: (K, L, C).
        reference: (K, S, C).
        max_similarities: that exist at once; less than L * S only where K is 1.
        product: of a batch of matrices.
    """
    block = max(1, max_similarities // max(len(query) * reference.shape[1], 1))
    parts = torch.split(query, block, dim=1)
    kept = [product(part, reference.mT) for part in parts[:1]]
    of_rows = [_log_sums(kept[0])]
    of_columns = kept[0].logsumexp(dim=1)
    for part in parts[1:]:
        similarity = product(part, reference.mT)
        of_rows.append(_log_sums(similarity))
        of_columns = torch.logaddexp(of_columns, similarity.logsumexp(dim=1))
        kept = []
    values, columns, column_value, column_row = [], [], None, None
    for index, (part, sums) in enumerate(zip(parts, of_rows, strict=True)):
        # One block is there still; of several each is made again.
        similarity = kept[0] if kept else product(part, reference.mT)
        # Half of the log-confidence; what all of a row have in common is taken off afterwards.
        score = similarity.sub_(of_columns[:, None] / 2)
        value, column = score.max(dim=2)
        values.append(2 * value - sums)
        columns.append(column)
        best, row = score.sub_(sums[:, :, None] / 2).max(dim=1)
        row = row + index * block
        if column_value is None or column_row is None:
            column_value, column_row = best, row
        else:
            column_row = torch.where(best > column_value, row, column_row)
            column_value = torch.maximum(best, column_value)
    assert column_row is not None
    column = torch.cat(columns, dim=1)
    back = column_row.gather(1, column)
    mutual = back == torch.arange(query.shape[1], device=query.device)
    return torch.cat(values, dim=1), column, mutual


def _log_sums(values: Tensor) -> Tensor:
    """Return the logarithms of sums of exponentials along the last dimension.

    Softmax has a kernel for it that reads values once and writes them once, where `logsumexp` goes
    over them six times. Along another dimension it is the other way round: measured on an H200,
    softmax takes 27 ms for 1.2 GB.
    """
    return values[..., 0] - values.log_softmax(dim=-1)[..., 0]


def inside(grid: tuple[int, int], border: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which cells of a coarse map, in raster order, are not in its rim."""
    height, width = grid
    mask = np.zeros(grid, np.bool_)
    mask[border : max(height - border, 0), border : max(width - border, 0)] = True
    return mask.ravel()


def _pixels(image: ImageFeatures) -> Tensor:
    """Return the pixels (H * W, 128) of a fine map."""
    return image.fine.permute(1, 2, 0).reshape(-1, image.fine.shape[0])
