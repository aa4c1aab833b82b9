"""The recorded numbers from a CUDA device: a real one where there is one, and a mock."""

from __future__ import annotations

import copy
from pathlib import Path

import comparisons
import pytest
import torch
from shared.mock_cuda import Log

from deviloc_ros.models.cuda import compute_exactly
from deviloc_ros.models.published.deviloc import DeViLocNetwork


def test_parity_e2e_on_a_gpu(parity_dir: Path, network: DeViLocNetwork) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    compute_exactly(tf32=False)
    comparisons.compare_e2e_topn(parity_dir, copy.deepcopy(network), "cuda")


def test_parity_e2e_on_the_mock(parity_dir: Path, network: DeViLocNetwork, cuda: Log) -> None:
    comparisons.compare_e2e_topn(parity_dir, copy.deepcopy(network), "cuda")
    assert cuda.num_launches
