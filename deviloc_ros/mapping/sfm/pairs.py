"""Which images of a map to match with each other."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch

EXHAUSTIVE_IMAGES = 60
PAIRS_BY_APPEARANCE = 25
PAIRS_BY_NAME = 10


def choose_pairs(descriptors: Mapping[str, torch.Tensor]) -> list[tuple[str, str]]:
    """Return which images to match: all, or those alike and those next to each other by name.

    Args:
        descriptors: name to global descriptor (C,), unit length.
    """
    names = sorted(descriptors)
    if len(names) <= EXHAUSTIVE_IMAGES:
        return list(itertools.combinations(names, 2))
    stacked = torch.stack([descriptors[name] for name in names])
    pairs: set[tuple[int, int]] = set()
    for i, similarity in enumerate(stacked @ stacked.T):
        alike = similarity.topk(min(PAIRS_BY_APPEARANCE + 1, len(names))).indices.tolist()
        beside = range(i + 1, min(i + 1 + PAIRS_BY_NAME, len(names)))
        pairs |= {(min(i, j), max(i, j)) for j in (*alike, *beside) if j != i}
    return [(names[i], names[j]) for i, j in sorted(pairs)]
