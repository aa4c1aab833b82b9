"""Mutual nearest neighbours, against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.localization import mutual
from deviloc_ros.localization.mutual import mutual_nearest_neighbours


def plain(query: torch.Tensor, reference: torch.Tensor) -> set[tuple[int, int]]:
    similarity = query.double() @ reference.double().T
    return {
        (i, int(row.argmax()))
        for i, row in enumerate(similarity)
        if int(similarity[:, int(row.argmax())].argmax()) == i
    }


@given(
    seed=st.integers(0, 2**16),
    queries=st.integers(0, 40),
    references=st.integers(0, 40),
    tile=st.sampled_from([1, 7, 64]),
    integer=st.booleans(),
)
def test_agrees_with_the_definition(
    seed: int, queries: int, references: int, tile: int, integer: bool
) -> None:
    generator = np.random.default_rng(seed)
    size = (queries + references, 16)
    # Small integers give ties, which must be broken alike; both types hold them exactly.
    values = generator.integers(-3, 4, size) if seed % 2 else generator.integers(-127, 128, size)
    descriptors = torch.from_numpy(values).to(torch.int8 if integer else torch.float32)
    query, reference = descriptors[:queries], descriptors[queries:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mutual, "TILE_ROWS", tile)
        found = mutual_nearest_neighbours(query, reference)
        generic = mutual._nearest(query, reference) if queries and references else None
    pairs = set(zip(*(index.tolist() for index in found), strict=True))
    assert pairs == (plain(query, reference) if queries and references else set())
    if generic is not None:
        on_cpu = mutual._nearest_on_cpu(query, reference)
        assert all(torch.equal(a, b) for a, b in zip(generic, on_cpu, strict=True))
