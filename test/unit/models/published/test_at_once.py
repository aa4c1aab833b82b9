"""topicfm as a GPU runs it, by itself on the CPU and as a whole on the mock CUDA device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from shared.mock_cuda import Log
from test_published_matching import SCALE, texture, view

from deviloc_ros.models.published.assignment import (
    NOWHERE,
    assign_at_once,
    assign_observed,
    assign_observed_exactly,
)
from deviloc_ros.models.published.deviloc import DeViLoc, LiftedMatches
from deviloc_ros.models.published.reference import ReferenceView
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.published.settings import Behaviour, PublishedSettings
from deviloc_ros.models.topicfm.at_once import coarse_matches_at_once, inside
from deviloc_ros.models.topicfm.coarse_matching import CoarseMatches, coarse_matches

GRIDS = ((7, 9), (8, 6))
# A query with five references, whatever their size: its features, its matches, their points.
MAX_LAUNCHES, MAX_SYNCHRONISATIONS = 600, 2
# The same with CUDA graphs, outside of them.
MAX_OUTSIDE = 420


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
    masks = [torch.from_numpy(inside(grid, border)) for grid in GRIDS]
    *found, counts = coarse_matches_at_once(queries, references, (masks[0], masks[1]), 0.05, limit)
    kept = [CoarseMatches(*(part[k, : counts[k]] for part in found)) for k in range(2)]
    for ours, query, reference in zip(kept, queries, references, strict=True):
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
    # Beside a view with more observations.
    more = torch.cat([observations, torch.rand(40, 2, generator=generator) * 60])
    beyond = torch.full((40, 2), NOWHERE)
    both = torch.stack([torch.cat([observations, beyond]), more]), torch.stack([keypoints] * 2)
    alike = assign_at_once(*both, 2.0, exactly=False)
    assert torch.equal(alike[0], assign_observed(observations, keypoints, 2.0))
    assert torch.equal(alike[1], assign_observed(more, keypoints, 2.0))
    exact = assign_at_once(*both, 2.0, exactly=True)[0]
    theirs = assign_observed_exactly(observations, keypoints, 2.0)
    assert torch.equal(exact >= 0, theirs >= 0)
    near = exact >= 0
    if count:
        # Of observations at one place either is as good.
        assert torch.equal(observations[exact[near]], observations[theirs[near]])
    assert not count or bool(near.any())


def distorted(seen: ReferenceView) -> ReferenceView:
    """Return a view by a lens that distorts."""
    distortion = torch.tensor([-0.05, 0.01, 1e-3, -2e-3], dtype=torch.float64)
    return replace(seen, camera=replace(seen.camera, distortion=distortion))


def _both_keypoints(matches: LiftedMatches) -> torch.Tensor:
    return torch.cat([matches.query_keypoints, matches.reference_keypoints], dim=1)


@pytest.mark.parametrize("behaviour", ["compat", "fix"])
def test_on_the_device_it_lifts_the_same_matches(behaviour: Behaviour, cuda: Log) -> None:
    views = [view(shift=shift) for shift in (8, 16)]
    # One that nothing is known about, one with fewer points, and one whose lens distorts.
    views += [view(0), view(60, shift=8), distorted(view(shift=24))]
    chosen = PublishedSettings(
        behaviour=behaviour, coarse_threshold=0.05, cell_size=3, min_confidence=0.1
    )
    results = []
    for device in ("cpu", "cuda"):
        graphs = behaviour == "fix"
        deviloc = DeViLoc(rule_network("test"), chosen, device, backend="torch", graphs=graphs)
        references = [deviloc.encode_reference(each) for each in views]
        cuda.clear()
        results.append(deviloc.match(deviloc.encode_query(texture(0), SCALE), references))
    assert cuda.num_launches <= (MAX_OUTSIDE if graphs else MAX_LAUNCHES), cuda.of_stages()
    assert cuda.num_synchronisations <= MAX_SYNCHRONISATIONS, cuda.synchronisations
    for ours, theirs in zip(*reversed(results), strict=True):
        assert len(ours.points) == len(theirs.points)
        # Matches that are equally certain, but for rounding, come in any order.
        distance = torch.cdist(_both_keypoints(theirs), _both_keypoints(ours))
        order = distance.argsort(dim=1)[:, :1].flatten()
        assert len(order.unique()) == len(order)
        for name, limit in (
            ("query_keypoints", 2e-3), ("reference_keypoints", 2e-3), ("points", 2e-3),
            ("confidence", 1e-4),
        ):  # fmt: skip
            first, second = getattr(ours, name)[order], getattr(theirs, name)
            assert first.device.type == "cpu"
            assert first.dtype == second.dtype
            np.testing.assert_allclose(first, second, atol=limit)
        assert torch.equal(ours.observation[order], theirs.observation)
    assert [len(each.points) > 20 for each in results[1]] == [True, True, False, True, True]
