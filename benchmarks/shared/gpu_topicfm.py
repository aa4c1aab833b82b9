"""The networks of topicfm on a GPU or the mock of one: launches, or times and memory.

Weights are made by a rule, so matches mean nothing. The query is among its references, so that
there are some.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.models.cuda import compute_exactly
from deviloc_ros.models.published.deviloc import DeViLoc
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.preprocessing import network_image, network_tensor
from deviloc_ros.models.published.reference import ReferenceView
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.published.settings import Precision, PublishedSettings
from shared.gpu_report import print_kernels, print_log
from shared.mock_cuda import Log

REFERENCES = 5
POINTS = 3000
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "float16")


def view(image: NDArray[np.uint8], size: int) -> ReferenceView:
    """Return an image as the network takes it, with made-up points in front of it."""
    generator = np.random.default_rng(0)
    reduced, scale = network_image(image, size)
    height, width = image.shape
    intrinsics = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    pixels = generator.uniform((0, 0), (width, height), (POINTS, 2))
    rays = np.column_stack([pixels, np.ones(POINTS)]) @ np.linalg.inv(intrinsics).T
    points = rays * generator.uniform(4, 9, (POINTS, 1))
    distortion = torch.tensor([-0.02, 0.01, 0.0, 0.0], dtype=torch.float64)
    camera = ReferenceCamera(torch.from_numpy(intrinsics), torch.eye(4).double(), distortion)
    return ReferenceView(
        network_tensor(reduced), scale, torch.from_numpy(pixels), torch.from_numpy(points), camera
    )


def print_topicfm(
    images: Sequence[NDArray[np.uint8]], size: int, log: Log | None, repeats: int
) -> None:
    """Print what a query with five references takes.

    Args:
        images: of a scene.
        size: longer side of the network's images, pixels.
        log: of the mock device; None: a GPU, which is timed.
        repeats: of what is timed.
    """
    compute_exactly(tf32=False)
    views = [view(images[i % len(images)], size) for i in range(REFERENCES)]
    for precision in PRECISIONS if log is None else PRECISIONS[:1]:
        method = DeViLoc(
            rule_network("gpu"),
            PublishedSettings(),
            "cuda",
            precision,
            backend="torch",
            graphs=True,
        )
        references = [method.encode_reference(each) for each in views]

        def localize(method: DeViLoc = method, references: object = references) -> int:
            query = method.encode_query(views[0].image, views[0].scale)
            return sum(len(part.points) for part in method.match(query, references))  # type: ignore[arg-type]

        matches = localize()
        print(f"\ntopicfm, {size} px, {precision}, K = {REFERENCES}: {matches} matches")
        if log is not None:
            log.clear()
            localize()
            print_log(log)
        else:
            print_time(localize, repeats)
            print_kernels(localize)


def print_time(action: Callable[[], object], repeats: int) -> None:
    """Print the median time of an action on a GPU, and its largest memory."""
    walls = []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        torch.cuda.synchronize()
        walls.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 1e6
    print(f"encode, match and lift {1e3 * statistics.median(walls):.2f} ms, {peak:.0f} MB at most")
