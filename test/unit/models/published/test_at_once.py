"""topicfm as a GPU runs it, by itself on the CPU and as a whole on the mock CUDA device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.mock_cuda import Log
from test_published_matching import SCALE, texture, view

from deviloc_ros.models.published.assignment import (
    assign_at_once,
    assign_observed,
    assign_observed_exactly,
)
from deviloc_ros.models.published.deviloc import DeViLoc
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.published.settings import Behaviour, PublishedSettings
from deviloc_ros.models.topicfm.at_once import coarse_matches_at_once
from deviloc_ros.models.topicfm.coarse_matching import coarse_matches

GRIDS = ((7, 9), (8, 6))
# A query with two references, whatever their size.
MAX_LAUNCHES, MAX_SYNCHRONISATIONS = 620, 2


@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    magnitude=st.sampled_from([0.5, 2.0, 12.0]),
    limit=st.sampled_from([1, 500, 10**6]),
    border=st.integers(0, 2),
)
def test_coarse_matches_are_those_of_blocks(
    seed: int, magnitude: float, limit: int, border: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(2, 63, 16, generator=generator) * magnitude
    noise = torch.randn(2, 48, 16, generator=generator) * 0.3 * magnitude
    references = queries[:, torch.randperm(63, generator=generator)[:48]] + noise
    found = coarse_matches_at_once(queries, references, GRIDS, 0.05, border, limit)
    for ours, query, reference in zip(found, queries, references, strict=True):
        theirs = coarse_matches(query, reference, GRIDS, 0.05, border)
        first, second = (
            dict(zip(zip(each.query.tolist(), each.reference.tolist(), strict=True),
                     each.confidence.tolist(), strict=True))
            for each in (ours, theirs)
        )  # fmt: skip
        assert first == pytest.approx(second, abs=1e-3)
        assert bool((ours.confidence.diff() <= 0).all())


@pytest.mark.parametrize("count", [0, 20, 900])
def test_observed_points_are_assigned_alike(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    observations = torch.rand(count, 2, generator=generator).mul(60).round()
    keypoints = torch.rand(300, 2, generator=generator) * 60
    alike = assign_at_once(observations, keypoints, 2.0, exactly=False)
    assert torch.equal(alike, assign_observed(observations, keypoints, 2.0))
    exact = assign_at_once(observations, keypoints, 2.0, exactly=True)
    theirs = assign_observed_exactly(observations, keypoints, 2.0)
    assert torch.equal(exact >= 0, theirs >= 0)
    near = exact >= 0
    if count:
        # Of observations at one place either is as good.
        assert torch.equal(observations[exact[near]], observations[theirs[near]])
    assert not count or bool(near.any())


@pytest.mark.parametrize("behaviour", ["compat", "fix"])
def test_on_the_device_it_lifts_the_same_matches(behaviour: Behaviour, cuda: Log) -> None:
    chosen = PublishedSettings(
        behaviour=behaviour, coarse_threshold=0.05, cell_size=3, min_confidence=0.1
    )
    results = []
    for device in ("cpu", "cuda"):
        deviloc = DeViLoc(rule_network("test"), chosen, device, backend="torch")
        query = deviloc.encode_query(texture(0), SCALE)
        references = [deviloc.encode_reference(view(shift=shift)) for shift in (8, 16)]
        cuda.clear()
        results.append(deviloc.match(query, references))
    assert cuda.num_launches <= MAX_LAUNCHES, cuda.launches.most_common(30)
    assert cuda.num_synchronisations <= MAX_SYNCHRONISATIONS, cuda.synchronisations
    for ours, theirs in zip(*reversed(results), strict=True):
        assert len(ours.points) == len(theirs.points) > 20
        for name, limit in (
            ("query_keypoints", 2e-3), ("reference_keypoints", 2e-3), ("points", 2e-3),
            ("confidence", 1e-4),
        ):  # fmt: skip
            first, second = getattr(ours, name), getattr(theirs, name)
            assert first.device.type == "cpu"
            assert first.dtype == second.dtype
            np.testing.assert_allclose(first, second, atol=limit)
        assert torch.equal(ours.observation, theirs.observation)
