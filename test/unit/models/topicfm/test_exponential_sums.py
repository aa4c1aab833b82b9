"""Sums of exponentials read off tiles, and products of chosen pairs, against float64."""

from __future__ import annotations

import pytest
import torch

from deviloc_ros.models.topicfm.exponential_tiles import exponential_sums, pair_products

THRESHOLD = 0.02


def features(count: int, seed: int, magnitude: float) -> torch.Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) * magnitude


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-5), (torch.bfloat16, 0.02)])
@pytest.mark.parametrize("magnitude", [0.3, 1.3])  # the larger one needs a shift
@pytest.mark.parametrize("max_products", [1, 700, 10**6])
def test_sums_and_large_entries(
    dtype: torch.dtype, limit: float, magnitude: float, max_products: int
) -> None:
    query, reference = (features(n, n, magnitude).to(dtype) for n in (90, 131))
    sums = exponential_sums(query, reference, THRESHOLD, max_products)
    assert sums is not None
    assert (sums.shift > 0) == (magnitude > 0.5)
    # Products are rounded to the features' type before they are exponentiated.
    products = (query.double() @ reference.double().T).to(dtype).double()
    exact = (products - sums.shift).exp()
    for ours, expected in ((sums.of_rows, exact.sum(1)), (sums.of_columns, exact.sum(0))):
        torch.testing.assert_close(ours.double(), expected, rtol=limit, atol=0.0)
    found = set(zip(sums.rows.tolist(), sums.columns.tolist(), strict=True))
    share = exact / exact.sum(1, keepdim=True)
    for factor, subset in ((1 + 2 * limit, True), (1 - 2 * limit, False)):
        expected_cells = {tuple(cell) for cell in (share > THRESHOLD * factor).nonzero().tolist()}
        assert expected_cells <= found if subset else found <= expected_cells
    torch.testing.assert_close(
        sums.exponentials.double(), exact[sums.rows, sums.columns], rtol=limit, atol=0.0
    )


@pytest.mark.parametrize("count", [0, 1, 500])
def test_products_of_pairs(count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    query, reference = features(40, 1, 1.0), features(60, 2, 1.0)
    rows = torch.randint(40, (count,), generator=generator)
    columns = torch.randint(60, (count,), generator=generator)
    expected = (query[rows].double() * reference[columns].double()).sum(1)
    ours = pair_products(query, reference, rows, columns)
    torch.testing.assert_close(ours.double(), expected, rtol=0.0, atol=1e-5)
