"""Images a second of several processes that share a GPU: each has a Python, and its lock."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization import Localizer
from deviloc_ros.maps.open_map import open_map

SECONDS = 4.0
# Where a process fails, the others do not wait for it longer than this.
START_SECONDS = 120.0

Images = Sequence[tuple[NDArray[np.uint8], Camera]]


def print_rates(
    place: Path, images: Images, assignments: Sequence[str], counts: Sequence[int]
) -> None:
    """Print how many images a second so many processes localize, each one after the other.

    Args:
        place: the map.
        images: and their cameras, which each process takes over and over.
        assignments: of the configuration.
        counts: numbers of processes.
    """
    context = multiprocessing.get_context("spawn")
    for count in counts:
        begin, rates = context.Barrier(count), context.SimpleQueue()
        processes = [
            context.Process(target=_localize, args=(place, images, assignments, begin, rates))
            for _ in range(count)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        if any(process.exitcode for process in processes):
            sys.exit(f"a process of {count} failed")
        rate = sum(rates.get() for _ in processes)
        print(f"{count:2d} processes: {rate:.1f} images a second")


def _localize(
    place: Path,
    images: Images,
    assignments: Sequence[str],
    begin: Barrier,
    rates: SimpleQueue[float],
) -> None:
    torch.set_num_threads(1)
    localizer = Localizer(open_map(place), load(LocalizerConfig, assignments=assignments))
    localizer.warm_up()
    localizer.localize(*images[0])
    begin.wait(START_SECONDS)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        localizer.localize(*images[done % len(images)])
        done += 1
    rates.put(done / (time.perf_counter() - start))
