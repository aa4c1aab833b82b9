"""Accuracy against processor time: which working point suits which computer?

    ./run bench working_points DATA --work DIR [--scenes castle kitti ...] [--points NAME ...]
                               [--isa avx2|avx512_core|avx512_core_vnni|avx512_core_amx]
                               [--output table.md] [--plot plot.png]

DATA holds castle-P30, castle-P19, kitti-residential, fountain-P11, entry-P10 and fox, whose units
are none of metres. A working point is a size of the image, a number of features and of references;
a map is built for each size and number of features. Every query is localized twice, and the second
time counts. --isa limits the instructions that oneDNN uses (inside OpenVINO and torch), as on an
older CPU; it cannot add what this one lacks. What is in DIR is not done again: maps, and the
queries of a point that was finished.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deviloc_ros.atomic import atomic_path

# What oneDNN calls them; the first that a process uses is for good.
ISAS = ("avx2", "avx512_core", "avx512_core_vnni", "avx512_core_amx")
SCENES = ("castle", "kitti", "fountain", "entry", "fox")


@dataclass(frozen=True)
class Point:
    """A working point.

    Attributes:
        max_size: longer side of the image, pixels.
        num_keypoints: features an image.
        num_references: references a query.
        num_aligned: matches aligned by their pixels.
        num_matches: matches refined per reference.
    """

    max_size: int
    num_keypoints: int
    num_references: int
    num_aligned: int
    num_matches: int = 1200

    def settings(self) -> list[str]:
        """Return the options of the command line."""
        values = {
            "features.max_size": self.max_size,
            "features.num_keypoints": self.num_keypoints,
            "retrieval.num_references": self.num_references,
            "alignment.num_matches": self.num_aligned,
            "matching.num_matches": self.num_matches,
        }
        return [f"{key}={value}" for key, value in values.items()]


# The default, those of config/one_camera_*.yaml, and two between them.
POINTS = {
    "default": Point(1024, 4096, 5, 2000),
    "1024-3": Point(1024, 3072, 3, 1000),
    "balanced": Point(800, 2048, 3, 1000),
    "fast": Point(640, 2048, 3, 300, 500),
    "640-2": Point(640, 1536, 2, 500),
    "small": Point(480, 1024, 2, 500),
}


def measure(data: Path, work: Path, scene_name: str, point: str) -> dict[str, Any]:
    """Localize a scene's queries; return errors and times."""
    # Here, so that --isa is known before anything is loaded.
    from accuracy import Bench
    from lifting.scenes import SCENES as MAKERS

    from deviloc_ros.config import LocalizerConfig
    from deviloc_ros.images import read_gray
    from deviloc_ros.localization import Localizer, PoseEstimate
    from deviloc_ros.maps.map import Map
    from deviloc_ros.schema import load

    chosen = POINTS[point]
    folder = work / f"{chosen.max_size}-{chosen.num_keypoints}"
    folder.mkdir(parents=True, exist_ok=True)
    scene = MAKERS[scene_name](Bench(data, folder, chosen.settings()[:2]))
    config = load(LocalizerConfig, None, chosen.settings())
    localizer = Localizer(Map.load(scene.map_path), config)
    errors, wall, cpu = [], [], []
    for query in scene.queries:
        image = read_gray(scene.query_images / query.name)
        localizer.localize(image, query.camera)
        start, used = time.perf_counter(), time.process_time()
        found = localizer.localize(image, query.camera)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
        errors.append(
            found.map_from_camera.distance_to(query.camera_from_map.inverse())
            if isinstance(found, PoseEstimate)
            else None
        )
    return {"scene": scene_name, "point": point, "errors": errors, "wall": wall, "cpu": cpu}


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown line a record."""
    lines = [
        "| scene | point | size | features | K | localized | median error | 90th percentile "
        "| CPU-s a query | wall, ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        point = POINTS[record["point"]]
        far = [np.inf if error is None else error[0] for error in record["errors"]]
        turned = [np.inf if error is None else error[1] for error in record["errors"]]
        lines.append(
            f"| {record['scene']} | {record['point']} | {point.max_size} | {point.num_keypoints} "
            f"| {point.num_references} | {int(np.isfinite(far).sum())} of {len(far)} "
            f"| {np.median(far):.4f} m, {np.median(turned):.4f} deg "
            f"| {np.percentile(far, 90, method='higher'):.4f} m "
            f"| {np.median(record['cpu']):.3f} | {1e3 * np.median(record['wall']):.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the median error against CPU-seconds, a line a scene."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4.5))
    for scene in dict.fromkeys(record["scene"] for record in records):
        found = [record for record in records if record["scene"] == scene]
        seconds = [float(np.median(record["cpu"])) for record in found]
        errors = [
            float(np.median([10.0 if e is None else e[0] for e in record["errors"]]))
            for record in found
        ]
        order = np.argsort(seconds)
        axis.plot(np.take(seconds, order), np.take(errors, order), "o-", label=scene)
        for record, x, y in zip(found, seconds, errors, strict=True):
            axis.annotate(record["point"], (x, y), textcoords="offset points", xytext=(5, 4))
    axis.set(
        xscale="log", yscale="log", xlabel="CPU-seconds a query", ylabel="median position error, m"
    )
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure each scene and point in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for maps and results")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--points", nargs="+", choices=POINTS, default=list(POINTS))
    parser.add_argument("--isa", choices=ISAS, help="use no newer instructions than these")
    parser.add_argument("--output", type=Path, help="write the table to a file too")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw errors and times")
    parser.add_argument("--one", nargs=2, metavar=("SCENE", "POINT"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    args.work.mkdir(parents=True, exist_ok=True)
    if args.one:
        record = measure(args.data, args.work, *args.one)
        with atomic_path(_result(args, *args.one)) as path:
            path.write_text(json.dumps(record), encoding="utf-8")
        return 0
    environment = dict(os.environ)
    if args.isa:
        environment["ONEDNN_MAX_CPU_ISA"] = args.isa
    records = []
    for scene in args.scenes:
        for point in args.points:
            result = _result(args, scene, point)
            if not result.exists():
                command = [sys.executable, os.path.abspath(__file__), *(arguments or sys.argv[1:])]
                subprocess.run([*command, "--one", scene, point], env=environment, check=True)
            records.append(json.loads(result.read_text(encoding="utf-8")))
    text = table(records)
    print(text, end="")
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
    if args.plot is not None:
        draw(records, args.plot)
    return 0


def _result(args: argparse.Namespace, scene: str, point: str) -> Path:
    return Path(args.work) / f"{scene}--{point}--{args.isa or 'all'}.json"


if __name__ == "__main__":
    sys.exit(main())
