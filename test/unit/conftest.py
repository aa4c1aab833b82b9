"""The mock CUDA device, which needs g++ and a CPU build of torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import flat_map
import pytest
import torch
from shared.mock_cuda import Log, mock_cuda

from deviloc_ros.maps.map import Map


@pytest.fixture(scope="session")
def board() -> Map:
    """A map of five references with different numbers of features."""
    return flat_map.flat_map(5)


@pytest.fixture
def cuda() -> Iterator[Log]:
    """A mock device, and what it is asked to do."""
    if torch.backends.cuda.is_built():
        pytest.skip("torch is built for CUDA: the mock device is for CPU builds")
    if shutil.which("g++") is None:
        pytest.skip("the mock device needs g++")
    with mock_cuda() as log:
        yield log
