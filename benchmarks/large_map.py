"""A place of many images, made of one real map repeated: how long it takes to open, what it holds.

    ./run bench large_map MAP [--images N] [--queries N] [--work DIR]

MAP becomes as many tiles as N images need, a kilometre apart from each other. In each tile but the
first one the numbers of every descriptor are in another order, so that it looks like another place.
A process of its own loads the networks with the first tile alone, opens the index, and localizes
images of the first tile as they are stored, each against all the others. Memory is the most that
this process held. Tiles and index are kept in --work.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from shared.process_memory import peak_bytes
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import PoseEstimate, Query
from deviloc_ros.mapping.multiview.matching import reference_features
from deviloc_ros.mapping.tiling import write_index
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.open_map import open_map

APART = 1000.0


def tile_name(number: int) -> str:
    return f"tile-{number:04d}.devmap"


def repeat(original: Map, folder: Path, images: int) -> list[Path]:
    """Write the tiles, those that are not there yet; return their files."""
    count = -(-images // len(original.references))
    paths = [folder / tile_name(number) for number in range(count)]
    generator = np.random.default_rng(0)
    for number, path in enumerate(tqdm(paths, desc="tiles")):
        order = generator.permutation(original.descriptors.shape[1])
        if path.exists():
            continue
        shift = np.array([number * APART, 0.0, 0.0])
        references = [
            replace(
                reference,
                name=f"{number:04d}/{reference.name}",
                camera_from_map=replace(
                    reference.camera_from_map,
                    translation=reference.camera_from_map.apply(-shift),
                ),
            )
            for reference in original.references
        ]
        moved = replace(original, references=references, origin=original.origin + shift)
        if number:
            moved = replace(moved, descriptors=np.ascontiguousarray(moved.descriptors[:, order]))
        moved.save(path)
    return paths


def measure(index: Path, queries: int) -> None:
    """Open the index, localize images of its first tile, and print what that took."""
    config = LocalizerConfig()
    busy = time.process_time()
    Localizer(open_map(index.with_name(tile_name(0))), config)
    print(f"networks: {time.process_time() - busy:.1f} CPU-s, {peak_bytes() / 1e9:.2f} GB")
    start, busy = time.monotonic(), time.process_time()
    opened = open_map(index, config.tiles)
    read = time.process_time() - busy
    localizer = Localizer(opened, config)
    busy, wall = time.process_time() - busy, time.monotonic() - start
    print(
        f"{len(opened.references)} images: opened in {wall:.1f} s, {busy:.1f} CPU-s of it, "
        f"{read:.1f} to read the index; {peak_bytes() / 1e9:.2f} GB"
    )
    times, found, right = [], 0, 0
    for query in np.linspace(0, opened.reference_offsets[1] - 1, queries).astype(int).tolist():
        reference = opened.references[query]
        features = reference_features(opened, query, config, localizer.device)
        start = time.monotonic()
        result = localizer.localize_query(
            Query(features, reference.camera, opened.image_of(query)), excluded=np.array([query])
        )
        times.append(time.monotonic() - start)
        if isinstance(result, PoseEstimate):
            found += 1
            truth = reference.camera_from_map.inverse()
            right += result.map_from_camera.distance_to(truth)[0] < 1.0
    print(
        f"{found} of {queries} images localized, {right} of them within 1 m; median "
        f"{np.median(times) * 1e3:.0f} ms; {peak_bytes() / 1e9:.2f} GB"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Repeat the map, and measure in a process of its own."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("map", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--measure", action="store_true", help="MAP is the index of all tiles")
    args = parser.parse_args(arguments)
    if args.measure:
        measure(args.map, args.queries)
        return 0
    work = args.work or Path(tempfile.mkdtemp(prefix="large-map-"))
    work.mkdir(parents=True, exist_ok=True)
    index = work / f"{args.images}.devtiles"
    if not index.exists():
        write_index(index, repeat(Map.load(args.map), work, args.images))
    command = [sys.executable, __file__, str(index), "--measure", "--queries", str(args.queries)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
