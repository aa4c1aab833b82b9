"""Accuracy on real scenes, through the public command line only; prints a Markdown table.

    ./run python benchmarks/accuracy.py DATA [--work DIR] [--only ROW ...] [--output table.md]

DATA holds one folder a scene, each with images/ and, where there is truth, a COLMAP text model.
Maps and poses are kept in --work, so that a row that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap import posed_images, write_posed_images

HEADER = (
    "| map -> queries | localized | within (0.25 m, 2 deg) | median position | median rotation | "
    "seconds a query | required | met |\n|---|---|---|---|---|---|---|---|\n"
)


class Line(Protocol):
    """A line of a table, by `str`."""

    @property
    def met(self) -> bool:
        """Whether what is required was reached."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        title: what is localized where.
        cells: localized, within, median position, median rotation, seconds.
        required: what must be reached.
        met: whether it is.
    """

    title: str
    cells: Sequence[str]
    required: str
    met: bool

    def __str__(self) -> str:
        """Return the line."""
        verdict = "yes" if self.met else "**no**"
        return f"| {' | '.join((self.title, *self.cells, self.required, verdict))} |"


class Bench:
    """Runs commands on scenes and keeps what they write."""

    def __init__(self, data: Path, work: Path, settings: Sequence[str]) -> None:
        """Work on the scenes of a folder."""
        self.data = data
        self.work = work
        self.settings = [part for setting in settings for part in ("--set", setting)]

    def deviloc(self, *arguments: str | Path) -> tuple[int, str]:
        """Run the command line; return its exit code and standard output."""
        command = [sys.executable, "-m", "deviloc_ros.cli.main", *map(str, arguments)]
        print("$ deviloc", *map(str, arguments), file=sys.stderr)
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode not in (0, 3):
            raise SystemExit(f"exit code {done.returncode}")
        return done.returncode, done.stdout

    def split(self, scene: str) -> tuple[Path, Path]:
        """Write the models of map images and of queries, every third frame, of a scene."""
        images = posed_images(self.data / scene)
        folders = self.work / f"{scene}-map", self.work / f"{scene}-queries"
        write_posed_images(folders[0], [image for i, image in enumerate(images) if i % 3])
        write_posed_images(folders[1], [image for i, image in enumerate(images) if not i % 3])
        return folders

    def build(self, name: str, images: Path, *options: str | Path) -> dict[str, Any]:
        """Build a map unless it is there already; return `map info`."""
        output = self.work / f"{name}.devmap"
        if not output.exists():
            self.deviloc(
                "map", "build", "--images", images, "--output", output, *options, *self.settings
            )
        if not output.exists():
            return {"references": 0, "unregistered": {}}
        info: dict[str, Any] = json.loads(self.deviloc("map", "info", output, "--json")[1])
        return info

    def localize(self, name: str, queries: str, model: Path) -> tuple[int, dict[str, Any]]:
        """Localize a scene's images in a map; return the exit code and stats.json."""
        stats = self.work / f"{name}.json"
        code, _ = self.deviloc(
            "localize", self.work / f"{name.partition('--')[0]}.devmap",
            "--images", self.data / queries / "images", "--model", model,
            "--output", self.work / f"{name}.txt", "--json", stats, *self.settings,
        )  # fmt: skip
        return code, json.loads(stats.read_text(encoding="utf-8"))

    def evaluate(self, name: str, model: Path, *options: str) -> dict[str, Any]:
        """Return `evaluate --json` of what `localize` wrote."""
        poses = self.work / f"{name}.txt"
        _, text = self.deviloc("evaluate", "--poses", poses, "--model", model, "--json", *options)
        errors: dict[str, Any] = json.loads(text)
        return errors


def castle(bench: Bench) -> list[Row]:
    """Localize castle-P19 in a map of castle-P30."""
    scene = bench.data / "castle-P30"
    bench.build("castle", scene / "images", "--model", scene, "--metric")
    truth = bench.data / "castle-P19"
    _, stats = bench.localize("castle", "castle-P19", truth)
    errors = bench.evaluate("castle", truth)
    return [_metric_row("castle-P30 (poses given) -> castle-P19", stats, errors, 0.03, 0.06)]


def kitti(bench: Bench) -> list[Row]:
    """Localize every third frame of a drive in a map of the others."""
    references, queries = bench.split("kitti-residential")
    images = bench.data / "kitti-residential" / "images"
    bench.build("kitti", images, "--model", references, "--metric")
    _, stats = bench.localize("kitti", "kitti-residential", queries)
    errors = bench.evaluate("kitti", queries)
    title = "kitti-residential: two thirds (poses given) -> every third frame"
    return [_metric_row(title, stats, errors, 0.02, 0.06)]


def fox(bench: Bench) -> list[Row]:
    """Localize every third frame in a map made from scratch of the others."""
    references, queries = bench.split("fox")
    subset = bench.work / "fox-images"
    if not subset.exists():
        unfinished = bench.work / "fox-images.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for image in posed_images(references):
            shutil.copy(bench.data / "fox" / "images" / image.name, unfinished)
        unfinished.rename(subset)
    bench.build("fox", subset)
    # The truth is of another scale, so poses are compared after alignment.
    _, stats = bench.localize("fox", "fox", queries)
    errors = bench.evaluate("fox", queries, "--align", "sim3")
    everything = stats["totals"]["localized"] == stats["totals"]["images"]
    rotation = errors["median_rotation_error_deg"]
    cells = _cells(stats, errors)
    cells[1] = cells[2] = "not metric"
    met = everything and rotation is not None and rotation <= 0.15
    required = "all; 0.15 deg after alignment"
    return [Row("fox: two thirds from scratch -> every third", cells, required, met)]


def from_scratch(bench: Bench) -> list[Row]:
    """Build maps from images alone and tell what did not register."""
    rows = []
    for scene in ("family", "lund-walk", "sacre-coeur"):
        info = bench.build(scene, bench.data / scene / "images")
        total = len(list((bench.data / scene / "images").iterdir()))
        told = info["references"] + len(info["unregistered"])
        cells = [
            f"{info['references']} of {total} registered, "
            f"{len(info['unregistered'])} listed with the reason"
        ]
        met = info["references"] > 0 and told == total
        rows.append(
            Row(f"{scene}: from scratch", [*cells, "", "", "", ""], "builds; all listed", met)
        )
    return rows


def wrong_place(bench: Bench) -> list[Row]:
    """Look for a courtyard in a map of a street: nothing may be found."""
    references, _ = bench.split("kitti-residential")
    images = bench.data / "kitti-residential" / "images"
    bench.build("kitti", images, "--model", references, "--metric")
    code, stats = bench.localize("kitti--castle", "castle-P19", bench.data / "castle-P19")
    reasons = ", ".join(f"{n} {r}" for r, n in stats["totals"]["failed_by_reason"].items())
    met = code == 3 and stats["totals"]["localized"] == 0
    cells = [f"{stats['totals']['localized']} of {stats['totals']['images']}", reasons]
    required = "none, each with a reason, exit code 3"
    return [Row("castle-P19 in the kitti map", [*cells, "", "", _seconds(stats)], required, met)]


ROWS: dict[str, Callable[[Bench], list[Row]]] = {
    "castle": castle,
    "kitti": kitti,
    "fox": fox,
    "from-scratch": from_scratch,
    "wrong-place": wrong_place,
}


def _metric_row(
    title: str, stats: dict[str, Any], errors: dict[str, Any], metres: float, degrees: float
) -> Row:
    position, rotation = errors["median_position_error_m"], errors["median_rotation_error_deg"]
    met = (
        errors["recall"][0]["recall"] == 1.0
        and position is not None
        and position <= metres
        and rotation <= degrees
    )
    required = f"all within; {metres:g} m, {degrees:g} deg"
    return Row(title, _cells(stats, errors), required, met)


def _cells(stats: dict[str, Any], errors: dict[str, Any]) -> list[str]:
    position, rotation = errors["median_position_error_m"], errors["median_rotation_error_deg"]
    return [
        f"{errors['num_localized']} of {errors['num_images']}",
        f"{errors['recall'][0]['num_images']} of {errors['num_images']}",
        "" if position is None else f"{position:.4f} m",
        "" if rotation is None else f"{rotation:.4f} deg",
        _seconds(stats),
    ]


def _seconds(stats: dict[str, Any]) -> str:
    return f"{sum(stats['totals']['median_stage_seconds'].values()):.2f}"


def print_table(
    about: str,
    header: str,
    rows: Mapping[str, Callable[[Bench], Iterable[Line]]],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run the rows asked for and print each when it is there; return 0 if all are met, else 1.

    Args:
        about: what the table is of, in a line.
        header: its first two lines.
        rows: makers of lines, by the name that asks for them.
        arguments: of the command line; None: the process' own.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("data", type=Path, help="folder with one folder a scene")
    parser.add_argument("--work", type=Path, help="folder for maps and poses, kept")
    parser.add_argument("--only", nargs="+", choices=rows, default=list(rows))
    parser.add_argument("--output", type=Path, help="write the table to a file too")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="localizer setting"
    )
    args = parser.parse_args(arguments)
    work = args.work or Path(tempfile.mkdtemp(prefix="deviloc-bench-"))
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.data, work, args.set)
    lines = []
    print(header, end="")
    for name in args.only:
        for line in rows[name](bench):
            print(line, flush=True)
            lines.append(line)
    table = header + "".join(f"{line}\n" for line in lines)
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(table, encoding="utf-8")
    return 0 if all(line.met for line in lines) else 1


if __name__ == "__main__":
    sys.exit(print_table("Accuracy on real scenes, as a Markdown table.", HEADER, ROWS))
