"""What matching with context costs a query: K = 5 and 3, with attention to two references or all.

    ./run bench context_cost DATA --map castle.devmap

DATA has castle-P19, whose images are darkened (doubt_scenes.py); the map is of castle-P30. Every
query is localized with matching.context = always. The first rows are the product as it is:
attention sees two references first. In the others it sees all of them, as where the first two leave
doubt.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from doubt_scenes import darkened

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer, PoseEstimate
from deviloc_ros.localization.context import matcher
from deviloc_ros.schema import load

NEVER = 10**9


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each number of references and way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--map", type=Path, required=True)
    args = parser.parse_args(arguments)
    folder = args.data / "castle-P19"
    queries = posed_images(folder)
    images = [darkened(read_gray(folder / "images" / q.name), i) for i, q in enumerate(queries)]
    print("| K | attention | localized | median error | CPU-s | wall, s |")
    print("|---|---|---|---|---|---|")
    for enough in (matcher.ENOUGH_GUIDES, NEVER):
        for count in (5, 3):
            settings = "matching.context=always", f"retrieval.num_references={count}"
            localizer = Localizer.load(args.map, load(LocalizerConfig, None, settings))
            errors, cpu, wall = [], [], []
            with mock.patch.object(matcher, "ENOUGH_GUIDES", enough):
                localizer.localize(images[0], queries[0].camera)  # what first use compiles
                for image, query in zip(images, queries, strict=True):
                    start, used = time.perf_counter(), time.process_time()
                    found = localizer.localize(image, query.camera)
                    cpu.append(time.process_time() - used)
                    wall.append(time.perf_counter() - start)
                    if isinstance(found, PoseEstimate):
                        truth = query.camera_from_map.inverse()
                        errors.append(found.map_from_camera.distance_to(truth)[0])
            seen = "all" if enough == NEVER else f"{matcher.NUM_FIRST} first"
            print(
                f"| {count} | {seen} | {len(errors)} of {len(images)} | {np.median(errors):.4f} m "
                f"| {np.mean(cpu):.2f} | {np.mean(wall):.2f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
