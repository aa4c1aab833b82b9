"""Images a second of several processes that share a GPU: each has a Python, and its lock."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import torch

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.maps.open_map import open_map

SECONDS = 4.0
# The first images of the map, over and over.
IMAGES = 8


def print_rates(place: Path, folder: Path, assignments: list[str], counts: list[int]) -> None:
    """Print how many images a second so many processes localize, each one after the other.

    Args:
        place: the map.
        folder: its images.
        assignments: of the configuration.
        counts: numbers of processes.
    """
    context = multiprocessing.get_context("spawn")
    for count in counts:
        begin, rates = context.Barrier(count), context.SimpleQueue()
        processes = [
            context.Process(target=_localize, args=(place, folder, assignments, begin, rates))
            for _ in range(count)
        ]
        for process in processes:
            process.start()
        rate = sum(rates.get() for _ in processes)
        for process in processes:
            process.join()
        print(f"{count:2d} processes: {rate:.1f} images a second")


def _localize(
    place: Path, folder: Path, assignments: list[str], begin: Barrier, rates: SimpleQueue[float]
) -> None:
    torch.set_num_threads(1)
    localizer = Localizer(open_map(place), load(LocalizerConfig, assignments=assignments))
    localizer.warm_up()
    references = localizer.map.references[:IMAGES]
    images = [read_gray(folder / reference.name) for reference in references]
    cameras = [
        reference.camera.fitted_to(*image.shape[::-1])
        for reference, image in zip(references, images, strict=True)
    ]
    localizer.localize(images[0], cameras[0])
    begin.wait()
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < SECONDS:
        localizer.localize(images[done % len(images)], cameras[done % len(images)])
        done += 1
    rates.put(done / (time.perf_counter() - start))
