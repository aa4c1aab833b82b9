"""CPA, against its equation written out."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.localization.aggregation import aggregate
from deviloc_ros.localization.types import Correspondences


def matches(seed: int, count: int) -> Correspondences:
    generator = np.random.default_rng(seed)
    return Correspondences(
        keypoints=generator.uniform(0, 40, (count, 2)),
        points3d=generator.normal(0, 10, (count, 3)),
        confidence=generator.uniform(0, 1, count),
        reference=generator.integers(0, 5, count),
        reference_keypoints=generator.uniform(0, 40, (count, 2)),
    )


@given(seed=st.integers(0, 2**16), count=st.integers(0, 80), cell=st.sampled_from([1.0, 2.5, 8.0]))
def test_is_the_equation(seed: int, count: int, cell: float) -> None:
    given_matches = matches(seed, count)
    merged = aggregate(given_matches, cell, 0.1)
    sums: dict[tuple[float, float], list[tuple[float, np.ndarray, np.ndarray]]] = {}
    for k, p, c in zip(
        given_matches.keypoints, given_matches.points3d, given_matches.confidence, strict=True
    ):
        if c > 0.1:
            cell_key = (round(k[0] / cell), round(k[1] / cell))
            sums.setdefault(cell_key, []).append((c, k, p))
    assert len(merged) == len(sums)
    for i, key in enumerate(sorted(sums)):
        weight = sum(c for c, _, _ in sums[key])
        np.testing.assert_allclose(merged.points3d[i], sum(c * p for c, _, p in sums[key]) / weight)
        np.testing.assert_allclose(
            merged.keypoints[i], sum(c * k for c, k, _ in sums[key]) / weight
        )
        np.testing.assert_allclose(merged.confidence[i], weight / len(sums[key]))


@given(seed=st.integers(0, 2**16))
def test_the_order_of_matches_does_not_matter(seed: int) -> None:
    given_matches = matches(seed, 60)
    shuffled = given_matches.select(np.random.default_rng(seed).permutation(60))
    first, second = aggregate(given_matches, 4.0, 0.2), aggregate(shuffled, 4.0, 0.2)
    np.testing.assert_allclose(first.points3d, second.points3d, rtol=1e-9, atol=1e-9)
