"""The blockwise dual softmax against the definition on the full matrix."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deviloc_ros.models.topicfm.coarse_matching import coarse_matches

GRIDS = ((7, 9), (8, 6))


def by_definition(
    query: torch.Tensor, reference: torch.Tensor, threshold: float, border: int
) -> set[tuple[int, int]]:
    similarity = query.double() @ reference.double().T / query.shape[1] ** 0.5
    confidence = similarity.softmax(0) * similarity.softmax(1)
    keep = confidence > threshold
    keep &= confidence == confidence.amax(1, keepdim=True)
    keep &= confidence == confidence.amax(0, keepdim=True)
    for axis, (height, width) in enumerate(GRIDS):
        inner = torch.zeros(height, width, dtype=torch.bool)
        inner[border : height - border, border : width - border] = True
        keep &= inner.flatten().unsqueeze(1 - axis)
    return {(int(i), int(j)) for i, j in keep.nonzero()}


def features(seed: int, magnitude: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(63, 16, generator=generator) * magnitude
    shuffled = query[torch.randperm(63, generator=generator)[:48]]
    return query, shuffled + torch.randn(48, 16, generator=generator) * 0.3 * magnitude


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    # From nearly flat softmaxes to exponents far beyond the range of float32.
    magnitude=st.sampled_from([0.5, 1.0, 2.0, 4.0, 12.0]),
    block=st.sampled_from([1, 48, 500, 10**6]),
    border=st.integers(0, 3),
    threshold=st.sampled_from([0.003, 0.05, 0.25]),
)
def test_agrees_with_the_definition_for_every_block_size(
    seed: int, magnitude: float, block: int, border: int, threshold: float
) -> None:
    query, reference = features(seed, magnitude)
    matches = coarse_matches(query, reference, GRIDS, threshold, border, block)
    found = {(int(i), int(j)) for i, j in zip(matches.query, matches.reference, strict=True)}
    assert found == by_definition(query, reference, threshold, border)
    assert bool((matches.confidence.diff() <= 0).all())
    assert bool((matches.confidence > threshold).all())


def test_ties_give_several_matches() -> None:
    query, reference = features(1, 3.0)
    reference[20] = reference[21]
    query[30] = reference[20] * 2
    matches = coarse_matches(query, reference, GRIDS, 0.05, 0)
    of_tie = matches.reference[matches.query == 30].tolist()
    assert sorted(of_tie) == [20, 21]


def test_border_cells_compete_but_do_not_match() -> None:
    query, reference = features(2, 3.0)
    inner, rim = 2 * 9 + 4, 0
    reference[2 * 6 + 2] = query[inner]
    assert inner in coarse_matches(query, reference, GRIDS, 0.05, 1).query
    query[rim] = query[inner] * 1.5
    assert inner not in coarse_matches(query, reference, GRIDS, 0.05, 1).query


def test_holds_no_full_matrix() -> None:
    """Largest tensor of the whole computation, seen by the dispatcher."""
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            result = func(*args, **(kwargs or {}))
            for part in result if isinstance(result, tuple | list) else [result]:
                if isinstance(part, torch.Tensor):
                    largest = max(largest, part.numel())
            return result

    generator = torch.Generator().manual_seed(0)
    query, reference = (torch.randn(1200, 16, generator=generator) * 2 for _ in range(2))
    with torch.inference_mode(), Watch():
        coarse_matches(query, reference, ((30, 40), (30, 40)), 0.25, 2, 60_000)
    assert 30_000 < largest <= 60_000


def test_threshold_must_be_positive() -> None:
    query, reference = features(3, 1.0)
    with pytest.raises(ValueError, match="threshold must be positive"):
        coarse_matches(query, reference, GRIDS, 0.0, 2)


def test_no_match_is_no_error() -> None:
    query, reference = features(4, 0.01)
    assert len(coarse_matches(query, reference, GRIDS, 0.9, 2).query) == 0


@pytest.mark.parametrize("gain", [0.8, 1.2, 1.8])
def test_half_precision_finds_the_same_matches_with_nearly_the_same_confidence(gain: float) -> None:
    generator = torch.Generator().manual_seed(1)
    grid = (30, 40)
    query = gain * torch.randn(1200, 256, generator=generator)
    reference = gain * torch.randn(1200, 256, generator=generator)
    noise = 3 * torch.rand(600, 1, generator=generator)
    reference[:600] = query[:600] + noise * torch.randn(600, 256, generator=generator)
    exact = coarse_matches(query, reference, (grid, grid), 0.25, 2)
    with torch.autocast("cpu", torch.bfloat16):
        half = coarse_matches(query, reference, (grid, grid), 0.25, 2)
    found = dict(zip(exact.query.tolist(), exact.confidence.tolist(), strict=True))
    assert len(found) > 100
    pairs = set(zip(half.query.tolist(), half.reference.tolist(), strict=True))
    doubtful = {cell for cell, confidence in found.items() if confidence < 0.27}
    both = pairs & set(zip(exact.query.tolist(), exact.reference.tolist(), strict=True))
    assert len(both) >= len(found) - len(doubtful)
    assert len(pairs - both) <= 2
    for cell, confidence in zip(half.query.tolist(), half.confidence.tolist(), strict=True):
        assert cell not in found or abs(confidence - found[cell]) < 0.02
    # Rounding alone is larger than that: half precision was really used.
    assert not torch.equal(half.confidence, exact.confidence)
