"""Mutual nearest neighbours, against the plain definition."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.localization.matching import mutual_nearest_neighbours as module
from deviloc_ros.localization.matching.mutual_nearest_neighbours import mutual_nearest_neighbours


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
        patch.setattr(module, "TILE_ROWS", tile)
        (found,) = mutual_nearest_neighbours(query, [reference])
        with ThreadPoolExecutor(2) as executor:
            shared = mutual_nearest_neighbours(query, [reference, query], executor)
    pairs = set(zip(*(index.tolist() for index in found), strict=True))
    assert pairs == (plain(query, reference) if queries and references else set())
    assert all(torch.equal(a, b) for a, b in zip(found, shared[0], strict=True))
    assert set(zip(*(i.tolist() for i in shared[1]), strict=True)) == plain(query, query)


def test_integers_and_floats_agree_beyond_one_tile() -> None:
    generator = np.random.default_rng(3)
    query, reference = (
        torch.from_numpy(generator.integers(-128, 128, (count, 64)).astype(np.int8))
        for count in (700, 1100)
    )
    (integer,) = mutual_nearest_neighbours(query, [reference])
    (floating,) = mutual_nearest_neighbours(query.float(), [reference.float()])
    assert len(integer[0]) > 50
    assert all(torch.equal(a, b) for a, b in zip(integer, floating, strict=True))


def test_cpus_with_and_without_quick_integer_products_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(4)
    # The largest sums that there can be: floats must hold them exactly.
    query, reference = (
        torch.from_numpy(generator.choice([-128, 127, 126], (count, 512)).astype(np.int8))
        for count in (200, 300)
    )
    found = []
    for capability in ("AVX512", "AVX2"):
        monkeypatch.setattr(
            torch.backends.cpu, "get_cpu_capability", lambda value=capability: value
        )
        found.append(mutual_nearest_neighbours(query, [reference])[0])
    assert len(found[0][0]) > 5
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
