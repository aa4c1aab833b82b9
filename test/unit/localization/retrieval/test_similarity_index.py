"""The most similar descriptors: all of them if they are few, nearly always the same if many."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deviloc_ros.localization.retrieval import similarity_index
from deviloc_ros.localization.retrieval.similarity_index import SimilarityIndex

CPU = torch.device("cpu")


def places(count: int, per_place: int, seed: int = 0) -> np.ndarray:
    """Return unit descriptors of images of places, those of one place alike."""
    generator = np.random.default_rng(seed)
    # What places differ in has far fewer dimensions than a descriptor.
    mixing = generator.normal(size=(40, 512))
    centres = generator.normal(size=(count, 40)) @ mixing / 40**0.5
    rows = np.repeat(centres, per_place, axis=0)
    rows = rows + 0.4 * generator.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def exactly(stored: np.ndarray, query: torch.Tensor, count: int) -> list[int]:
    return np.argsort(-(torch.from_numpy(stored).float() @ query).numpy())[:count].tolist()


@pytest.mark.parametrize("many", [False, True])
def test_the_most_similar_come_first(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if many:
        monkeypatch.setattr(similarity_index, "EXACT", 100)
    stored = places(300, 4)
    index = SimilarityIndex(stored, CPU)
    everything = np.ones(len(stored), dtype=np.bool_)
    for row in range(0, len(stored), 37):
        query = torch.from_numpy(stored[row]).float()
        found = index.nearest(query, everything, 4)
        assert found.tolist() == exactly(stored, query, 4)
        assert found[0] == row


@pytest.mark.parametrize("many", [False, True])
def test_what_is_not_allowed_is_never_returned(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if many:
        monkeypatch.setattr(similarity_index, "EXACT", 100)
    stored = places(300, 4)
    index = SimilarityIndex(stored, CPU)
    query = torch.from_numpy(stored[5]).float()
    allowed = np.ones(len(stored), dtype=np.bool_)
    allowed[[4, 5]] = False
    found = index.nearest(query, allowed, 10)
    assert len(found) == 10
    assert not {4, 5} & set(found.tolist())
    few = np.zeros(len(stored), dtype=np.bool_)
    few[[7, 900]] = True
    assert set(index.nearest(query, few, 10).tolist()) == {7, 900}
    assert not len(index.nearest(query, np.zeros_like(few), 10))


def test_equal_descriptors_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity_index, "EXACT", 1)
    stored = np.repeat(places(1, 1), 5, axis=0)
    index = SimilarityIndex(stored, CPU)
    query = torch.from_numpy(stored[0]).float()
    assert index.nearest(query, np.ones(5, dtype=np.bool_), 3).tolist() == [0, 1, 2]
