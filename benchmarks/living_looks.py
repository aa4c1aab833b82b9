"""A map of a simulated street by day, extended by a pass in the evening on the other lane.

    ./run bench living_looks --work DIR [--length M] [--spacing M] [--set KEY=VALUE]

Every second image of each pass is a query, whose true pose is known; the others make the map by day
and extend it by their intrinsics alone (`evening`). Printed for the map before and after: queries
by day and in the evening that were localized, and their median errors. Files are kept in DIR; the
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from shared.second_pass import render_second_pass

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.datasets.colmap import PosedImage, posed_images
from deviloc_ros.demo.passes import Scene, photograph_first_pass
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer, PoseEstimate
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.mapping.living.extend import ExtendOptions, extend_map
from deviloc_ros.simulation.light import EVENING


def score(path: Path, images: Path, queries: Sequence[PosedImage], config: LocalizerConfig) -> str:
    """Localize queries; return the cells of a line."""
    localizer = Localizer.load(path, config)
    errors = []
    for query in queries:
        result = localizer.localize(read_gray(images / query.name), query.camera)
        if isinstance(result, PoseEstimate):
            errors.append(result.map_from_camera.distance_to(query.camera_from_map.inverse()))
    found = f"{len(errors)} of {len(queries)}"
    if not errors:
        return f"{found} | - | -"
    metres, degrees = np.median(np.array(errors), axis=0)
    largest = max(error[0] for error in errors)
    return f"{found} | {1000 * metres:.1f} mm (largest {1000 * largest:.0f}) | {degrees:.4f} deg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--length", type=float, default=24.0)
    parser.add_argument("--spacing", type=float, default=1.6, help="of images of each map, metres")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    config = load(LocalizerConfig, None, args.set)
    count = 2 * round(args.length / args.spacing)
    scene = Scene(length=args.length, spacing=args.spacing / 2, queries=count)
    args.work.mkdir(parents=True, exist_ok=True)
    day, evening = args.work / "day", args.work / "evening"
    if not (day / "model" / "images.txt").exists():
        photograph_first_pass(scene, day)
    render_second_pass(scene, EVENING, evening)
    by_day, in_evening = posed_images(day / "model"), posed_images(evening / "model")
    maps = {"day": args.work / "day.devmap", "day and evening": args.work / "both.devmap"}
    if not maps["day"].exists():
        names = tuple(item.name for item in by_day[::2])
        options = BuildOptions(config=config, metric=True, gravity_aligned=True, names=names)
        build_map(day / "images", maps["day"], day / "model", options)
    told = args.work / "told.txt"
    if not maps["day and evening"].exists():
        cameras = {item.name: item.camera for item in in_evening[::2]}
        summary = extend_map(
            maps["day"], evening / "images", cameras, None, maps["day and evening"],
            ExtendOptions(label="evening", config=config),
        )  # fmt: skip
        true = {item.name: item.camera_from_map.inverse() for item in in_evening}
        errors = [
            r.camera_from_map.inverse().distance_to(true[Path(r.name).name])[0]
            for r in summary.map.references
            if r.look == "evening"
        ]
        told.write_text(
            f"{summary.num_localized} of {summary.num_images} evening images localized by day, "
            f"{summary.num_added} added, {1000 * np.median(errors):.1f} mm off (largest "
            f"{1000 * max(errors):.1f}); old images: {summary.check.text('m')}",
            encoding="utf-8",
        )
    print("| map | queries | localized | position | rotation |")
    print("|---|---|---|---|---|")
    for name, path in maps.items():
        for what, folder, posed in (("day", day, by_day), ("evening", evening, in_evening)):
            line = score(path, folder / "images", posed[1::2], config)
            print(f"| {name} | {what} | {line} |", flush=True)
    print(told.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
