"""A map of a simulated street by day, extended by a pass in the evening on the other lane.

    ./run bench living_looks --work DIR [--length M] [--spacing M] [--given] [--set KEY=VALUE]

Every second image of each pass is a query, whose true pose is known; the others make the map by day
and extend it (`day and evening`) by their intrinsics alone, or with --given also with their true
poses (`given`). Printed for the map before and after: queries by day and in the evening that were
localized, and their median errors. Files are kept in DIR; the command goes on where it stopped.
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


def extend(
    day: Path,
    images: Path,
    evening: Sequence[PosedImage],
    output: Path,
    config: LocalizerConfig,
    given: bool,
) -> None:
    """Extend the map of the day by every second image, and write beside it what came of that."""
    new = evening[::2]
    cameras = {item.name: item.camera for item in new}
    options = ExtendOptions(label="evening", model_metric=True, same_frame=given, config=config)
    summary = extend_map(day, images, cameras, new if given else None, output, options)
    true = {item.name: item.camera_from_map.inverse() for item in evening}
    errors = [
        r.camera_from_map.inverse().distance_to(true[Path(r.name).name])[0]
        for r in summary.map.references
        if r.look == "evening"
    ]
    output.with_suffix(".txt").write_text(
        f"{summary.num_localized} of {summary.num_images} evening images localized by day, "
        f"{summary.num_added} added, {1000 * np.median(errors):.1f} mm off (largest "
        f"{1000 * max(errors):.1f}); old images: {summary.check.text('m')}",
        encoding="utf-8",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--length", type=float, default=24.0)
    parser.add_argument("--spacing", type=float, default=1.6, help="of images of each map, metres")
    parser.add_argument("--given", action="store_true", help="extend with true poses, too")
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
    if args.given:
        maps["given"] = args.work / "given.devmap"
    for name in list(maps)[1:]:
        if not maps[name].exists():
            extend(maps["day"], evening / "images", in_evening, maps[name], config, name == "given")
    print("| map | queries | localized | position | rotation |")
    print("|---|---|---|---|---|")
    for name, path in maps.items():
        for what, folder, posed in (("day", day, by_day), ("evening", evening, in_evening)):
            line = score(path, folder / "images", posed[1::2], config)
            print(f"| {name} | {what} | {line} |", flush=True)
    for name in list(maps)[1:]:
        print(f"{name}: {maps[name].with_suffix('.txt').read_text(encoding='utf-8')}")


if __name__ == "__main__":
    main()
