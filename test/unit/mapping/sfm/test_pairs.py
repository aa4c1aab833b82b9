"""Which images of a map are matched with each other."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from deviloc_ros.mapping.sfm import pairs
from deviloc_ros.mapping.sfm.pairs import choose_pairs


def descriptors(count: int, seed: int) -> dict[str, torch.Tensor]:
    values = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    unit = torch.nn.functional.normalize(values, dim=1)
    return {f"{i:03}.jpg": item for i, item in enumerate(unit)}


def test_few_images_are_all_matched() -> None:
    found = descriptors(5, 0)
    assert choose_pairs(found) == list(itertools.combinations(sorted(found), 2))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(2, 40))
def test_of_many_images_those_alike_and_those_in_a_row(seed: int, count: int) -> None:
    given_images = descriptors(count, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "EXHAUSTIVE_IMAGES", 0)
        patch.setattr(pairs, "PAIRS_BY_APPEARANCE", 2)
        patch.setattr(pairs, "PAIRS_BY_NAME", 1)
        chosen = choose_pairs(given_images)
    assert len(set(chosen)) == len(chosen)
    assert all(first < second for first, second in chosen)
    names = sorted(given_images)
    assert set(itertools.pairwise(names)) <= set(chosen)
    for name in names:
        likeness = {other: float(given_images[name] @ given_images[other]) for other in names}
        del likeness[name]
        most_alike = max(likeness, key=lambda other: likeness[other])
        assert tuple(sorted((name, most_alike))) in chosen
