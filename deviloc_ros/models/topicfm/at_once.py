"""TopicFM-fast on a GPU: a query with references of one size in few launches and one wait.

Where `coarse_matching` looks at blocks of the similarities and decides what to do with each, here
every reference takes the same operations, whatever is in it. The similarities are float32 in every
precision: on a GPU they are a small part of the time, and the guard that rounded ones need is not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from deviloc_ros.models.topicfm.coarse_matching import CoarseMatches, inside
from deviloc_ros.models.topicfm.fine_matching import gather_windows, refine
from deviloc_ros.models.topicfm.image_features import ImageFeatures
from deviloc_ros.models.topicfm.matcher import PairMatches, TopicFM, centres

# Similarities that exist at once: 512 MiB of float32, which hold all of 864 x 864 pixels.
MAX_SIMILARITIES = 1 << 27
# Pairs of windows, 26 kB each, that go through the fine network at once.
WINDOWS_AT_ONCE = 16384


def match_at_once(
    network: TopicFM,
    query: ImageFeatures,
    references: Sequence[ImageFeatures],
    threshold: float,
    border: int,
) -> list[PairMatches]:
    """Match a query with references whose coarse maps have one size; see `TopicFM.forward`."""
    grids = query.grid, references[0].grid
    queries, others = network.coarse_net(query, references)
    coarse = coarse_matches_at_once(queries, others, grids, threshold, border)
    return _refined(network, query, references, coarse)


def coarse_matches_at_once(
    queries: Tensor,
    references: Tensor,
    grids: tuple[tuple[int, int], tuple[int, int]],
    threshold: float,
    border: int,
    max_similarities: int = MAX_SIMILARITIES,
) -> list[CoarseMatches]:
    """Do what `coarse_matches` does for each of K references; of equal maxima the first counts.

    Args:
        queries: (K, L, 256) features, of the query for each reference.
        references: (K, S, 256) features.
        grids: (h, w) of the query's and the references' coarse maps.
        threshold: least confidence, exclusive.
        border: width of the rim of each map that gives no matches, cells.
        max_similarities: that exist at once.
    """
    with torch.autocast(queries.device.type, enabled=False):
        scaled = queries.float() / math.sqrt(queries.shape[2])
        pairs = zip(scaled, references.float(), strict=True)
        best = [_mutual_maxima(*pair, max_similarities) for pair in pairs]
    log_confidence, columns, mutual = (torch.stack(part) for part in zip(*best, strict=True))
    rows = torch.arange(queries.shape[1], device=queries.device)
    confidence = log_confidence.exp()
    keep = mutual & (confidence > threshold) & inside(columns, grids[1], border)
    keep &= inside(rows, grids[0], border)
    ranked = torch.where(keep, confidence, -1.0).sort(dim=1, descending=True, stable=True)
    columns = columns.gather(1, ranked.indices)
    counts: list[int] = keep.sum(dim=1).tolist()  # waits
    return [
        CoarseMatches(ranked.indices[k, :count], columns[k, :count], ranked.values[k, :count])
        for k, count in enumerate(counts)
    ]


def _mutual_maxima(
    query: Tensor, reference: Tensor, max_similarities: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return of each row the largest log-confidence, its column, and whether it is the column's."""
    block = max(1, max_similarities // max(len(reference), 1))
    parts = torch.split(query, block)
    kept = [torch.mm(part, reference.T) for part in parts[:1]]
    of_rows = [kept[0].logsumexp(dim=1)]
    of_columns = kept[0].logsumexp(dim=0)
    for part in parts[1:]:
        similarity = torch.mm(part, reference.T)
        of_rows.append(similarity.logsumexp(dim=1))
        of_columns = torch.logaddexp(of_columns, similarity.logsumexp(dim=0))
        kept = []
    values, columns, column_value, column_row = [], [], None, None
    for index, (part, sums) in enumerate(zip(parts, of_rows, strict=True)):
        # One block is there still; of several each is made again.
        similarity = kept[0] if kept else torch.mm(part, reference.T)
        score = similarity.mul_(2).sub_(sums[:, None]).sub_(of_columns)
        value, column = score.max(dim=1)
        values.append(value)
        columns.append(column)
        best, row = score.max(dim=0)
        row = row + index * block
        if column_value is None or column_row is None:
            column_value, column_row = best, row
        else:
            column_row = torch.where(best > column_value, row, column_row)
            column_value = torch.maximum(best, column_value)
    assert column_row is not None
    column = torch.cat(columns)
    mutual = column_row[column] == torch.arange(len(query), device=query.device)
    return torch.cat(values), column, mutual


def _refined(
    network: TopicFM,
    query: ImageFeatures,
    references: Sequence[ImageFeatures],
    coarse: Sequence[CoarseMatches],
) -> list[PairMatches]:
    """Refine the coarse matches of all references as one batch."""
    counts = [len(matches.query) for matches in coarse]
    cells = torch.cat([matches.query for matches in coarse])
    others = torch.cat([matches.reference for matches in coarse])
    # Most windows are inside of the maps, but to know it would be to wait.
    of_references = [
        gather_windows(each.fine, matches.reference, each.grid, near_edge=True)
        for each, matches in zip(references, coarse, strict=True)
    ]
    of_query = gather_windows(query.fine, cells, query.grid, near_edge=True)
    windows = torch.cat([of_query, torch.cat(of_references)], dim=1)
    refined = [refine(*network.fine_net(part)) for part in torch.split(windows, WINDOWS_AT_ONCE)]
    offsets, other_offsets, peaks = (torch.cat(parts) for parts in zip(*refined, strict=True))
    places = (centres(cells, query.grid) + offsets) * query.scale
    other_places = centres(others, references[0].grid) + other_offsets
    confidence = peaks * torch.cat([matches.confidence for matches in coarse])
    return [
        PairMatches(place, other * reference.scale, sure, matches)
        for place, other, sure, reference, matches in zip(
            *(torch.split(each, counts) for each in (places, other_places, confidence)),
            references, coarse, strict=True,
        )
    ]  # fmt: skip
