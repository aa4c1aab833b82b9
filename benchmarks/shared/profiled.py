"""Where a query's time goes on a CPU: stages, threads, and products against what the cores can do.

Rates are of useful operations: two for each product of two numbers. What the cores can do is what a
product of two large float32 matrices reaches on the same machine in the same minute.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.matching import semi_dense
from deviloc_ros.localization.matching.semi_dense import SemiDenseMatcher
from deviloc_ros.models.xfeat import load_xfeat

MATRIX = 1536
TICKS = os.sysconf("SC_CLK_TCK")


class Products:
    """Counts the operations of a step, and the time that it takes."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.operations: dict[str, float] = {}
        self.seconds: dict[str, float] = {}

    def counted(
        self, name: str, step: Callable[..., Any], operations: Callable[..., float]
    ) -> Callable[..., Any]:
        """Return a step that is counted."""

        def run(*arguments: Any) -> Any:
            begin = time.perf_counter()
            result = step(*arguments)
            spent = time.perf_counter() - begin
            self.seconds[name] = self.seconds.get(name, 0.0) + spent
            self.operations[name] = self.operations.get(name, 0.0) + operations(*arguments)
            return result

        return run


def profile(
    localizer: Localizer, images: Sequence[NDArray[Any]], queries: Sequence[PosedImage]
) -> str:
    """Localize images, which have been localized before; return a report of lines."""
    peak = float(np.median([_peak() for _ in range(5)]))
    stages: dict[str, list[float]] = {}
    threads, cpu, begin = _threads(), time.process_time(), time.perf_counter()
    for image, query in zip(images, queries, strict=True):
        result = localizer.localize(image, query.camera)
        for stage, seconds in result.stage_seconds.items():
            stages.setdefault(stage, []).append(seconds)
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    lines = [
        f"a query: {1e3 * wall / len(images):.0f} ms, {1e3 * cpu / len(images):.0f} CPU-ms",
        "stages: " + ", ".join(f"{s} {1e3 * np.median(each):.0f} ms" for s, each in stages.items()),
        "threads: "
        + ", ".join(
            f"{name} {1e3 * spent / len(images):.0f} CPU-ms"
            for name, spent in _spent(threads, _threads())
        ),
        f"a product of float32 matrices: {peak / 1e9:.0f} GFLOP/s",
    ]
    with _counting(localizer) as products:
        for image, query in zip(images, queries, strict=True):
            localizer.localize(image, query.camera)
    for name, operations in products.operations.items():
        rate = operations / products.seconds[name]
        lines.append(
            f"{name}: {operations / len(images) / 1e9:.1f} GFLOP a query, {rate / 1e9:.0f} "
            f"GFLOP/s, {rate / peak:.0%} of that"
        )
    return "\n".join(lines)


@contextmanager
def _counting(localizer: Localizer) -> Iterator[Products]:
    """Count the operations of the backbone, of similarities and of the fine matcher."""
    products = Products()
    matcher, extractor = localizer._pipeline.match, localizer._pipeline.extractor
    assert isinstance(matcher, SemiDenseMatcher)
    backbone, fine = load_xfeat()
    per_pair = 2.0 * sum(weight.numel() for weight in fine.parameters() if weight.dim() == 2)

    def of_backbone(images: torch.Tensor) -> float:
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            backbone(torch.zeros(images.shape))
        return float(counter.get_total_flops())

    def of_similarities(
        query: torch.Tensor, references: Sequence[torch.Tensor], _: object
    ) -> float:
        return sum(2.0 * query.numel() * len(reference) for reference in references)

    steps = (
        ("backbone", extractor, "_network", of_backbone),
        ("similarities", semi_dense, "mutual_nearest_neighbours", of_similarities),
        ("fine matcher", matcher, "_refine", lambda pairs: per_pair * len(pairs)),
    )
    with ExitStack() as stack:
        for name, owner, attribute, operations in steps:
            counted = products.counted(name, getattr(owner, attribute), operations)
            stack.enter_context(mock.patch.object(owner, attribute, counted))
        yield products


def _peak() -> float:
    """Return the rate of a product of large matrices, operations a second."""
    one = torch.rand(MATRIX, MATRIX)
    torch.mm(one, one)
    begin = time.perf_counter()
    torch.mm(one, one)
    return 2.0 * MATRIX**3 / (time.perf_counter() - begin)


def _threads() -> dict[int, float]:
    """Return the CPU-seconds of each thread of this process."""
    spent = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        spent[int(task.name)] = (int(fields[11]) + int(fields[12])) / TICKS
    return spent


def _spent(before: dict[int, float], after: dict[int, float]) -> list[tuple[str, float]]:
    """Return the CPU-seconds between, by kind of thread, the most first."""
    names = {thread.native_id: thread.name for thread in threading.enumerate()}
    total: dict[str, float] = {}
    for number, seconds in after.items():
        name = names.get(number, "OpenVINO and OpenMP").rstrip("0123456789_")
        total[name] = total.get(name, 0.0) + seconds - before.get(number, 0.0)
    return sorted(
        ((name, spent) for name, spent in total.items() if spent > 0), key=lambda item: -item[1]
    )
