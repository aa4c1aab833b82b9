"""CUDA graphs, as far as they can be seen without CUDA: what is recorded, and what callers get."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from deviloc_ros.models import cuda
from deviloc_ros.models.cuda import Recorded, has_hardware, products_of_halves, upload


class Computation:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, values: torch.Tensor) -> tuple[torch.Tensor]:
        self.calls += 1
        return (values * 2 + 1,)


CPU = torch.device("cpu")


def recorded(function: Computation) -> Recorded:
    """Return a function that is recorded, as on a device that has graphs."""
    run = Recorded(function, True, CPU)
    run._active = True
    return run


@dataclass
class Graph:
    """Computes again into the memory of its results, as a recorded graph does."""

    function: Any
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]

    def replay(self) -> None:
        for held, made in zip(self.outputs, self.function(*self.inputs), strict=True):
            held.copy_(made)


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Shapes that were recorded."""
    shapes: list[tuple[int, ...]] = []

    def record(self: Recorded, inputs: tuple[torch.Tensor, ...]) -> cuda._Recording:
        shapes.append(tuple(inputs[0].shape))
        held = tuple(each.clone() for each in inputs)
        outputs = self._function(*held)
        return cuda._Recording(Graph(self._function, held, outputs), held, outputs)

    monkeypatch.setattr(Recorded, "_record", record)
    return shapes


def test_each_shape_is_recorded_once_and_results_stay(recordings: list[tuple[int, ...]]) -> None:
    run = recorded(Computation())
    given = [torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0, 4.0]), torch.ones(1)]
    results = [run(each)[0] for each in given]
    assert recordings == [(1,), (2,)]
    assert [each.tolist() for each in results] == [[3.0], [5.0], [7.0, 9.0], [3.0]]


def test_without_graphs_it_is_the_function(recordings: list[tuple[int, ...]]) -> None:
    computation = Computation()
    assert Recorded(computation, False, CPU)(torch.ones(1))[0].tolist() == [3.0]
    assert (recordings, computation.calls) == ([], 1)


def test_what_cannot_be_recorded_is_said_and_computed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(self: Recorded, inputs: tuple[torch.Tensor, ...]) -> cuda._Recording:
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    monkeypatch.setattr(Recorded, "_record", refuse)
    run = recorded(Computation())
    with caplog.at_level(logging.WARNING):
        assert [run(torch.ones(1))[0].tolist() for _ in range(2)] == [[3.0], [3.0]]
    (line,) = caplog.messages
    assert "cuda.graphs=false" in line
    assert "not permitted when stream is capturing" in line


def test_products_of_halves_round_only_what_they_multiply() -> None:
    generator = np.random.default_rng(0)
    codes = torch.from_numpy(generator.integers(-127, 128, (2, 2, 5, 64))).float()
    exact = codes[0] @ codes[1].mT
    # Beyond what float16 holds, let alone to the last digit.
    assert exact.abs().max() > 2048
    assert torch.equal(products_of_halves(codes[0], codes[1].mT), exact)
    rounded = products_of_halves(codes[:, 0] / 3, codes[:, 1].mT)
    exact = (codes[:, 0] / 3).half().double() @ codes[:, 1].mT.double()
    np.testing.assert_allclose(rounded, exact, rtol=1e-5, atol=1e-3)


def test_uploads_keep_their_values() -> None:
    array = np.arange(3.0)
    uploaded = upload(array, torch.device("cpu"))
    assert uploaded.tolist() == [0.0, 1.0, 2.0]
    assert not has_hardware(torch.device("cpu"))
