"""What a map costs: CPU time, memory and bytes an image, on real scenes and as places grow.

    ./run bench map_cost DATA [--work DIR] [--only ROW ...] [--output table.md]
    ./run bench map_cost --drives N ... [--alone] [--width PIXELS] [--work DIR] [--plot curve.png]
    ./run bench map_cost DATA --splits [--work DIR] [--output table.md]

DATA holds one folder a scene, each with images/ and, where there is truth, a COLMAP text model.
Rows with poses given use that model's poses and not its points. --drives makes maps of drives of so
many images through a simulated street as long as they need, 1.6 m apart, poses given (with --alone:
from the images alone); --plot draws their costs. --splits makes maps of a part of each surveyed
scene instead, and localizes the other images: how exact are cheap maps? Each map is built by the
command line in a process of its own; CPU seconds are of all its threads, memory is the most that it
held. Results are kept in --work, so that a run that was interrupted goes on with the next map; a
map that was interrupted is begun anew, or it would look cheaper than it is.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from matplotlib.figure import Figure

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap import posed_images, write_posed_images
from deviloc_ros.demo.passes import CAMERA, Scene, photograph_first_pass

SPACING = 1.6
# Scene and whether its poses are given.
SCENES = {
    "castle-P30": True,
    "kitti-residential": True,
    "fox": False,
    "family": False,
    "lund-walk": False,
    "sacre-coeur": False,
    "statue-sunset-noon": False,
}
# Scene, every how manieth image is in the map, and from which on.
SPLITS = (
    ("castle-P30", 2, 0),
    ("entry-P10", 2, 0),
    ("entry-P10", 2, 1),
    ("fountain-P11", 2, 0),
    ("fountain-P11", 2, 1),
    ("kitti-residential", 3, 0),
    ("kitti-residential", 3, 1),
)
HEADER = (
    "| images | poses | in the map | CPU-seconds an image | wall | memory | kB an image |\n"
    "|---|---|---|---|---|---|---|\n"
)
SPLIT_HEADER = (
    "| map of | images | CPU-seconds an image | kB an image | localized | median position | "
    "median rotation |\n|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Cost:
    """What one map cost.

    Attributes:
        images: given.
        references: in the map.
        cpu_seconds: of all threads.
        wall_seconds: of the command.
        peak_bytes: the most memory that the process held.
        map_bytes: of the file.
    """

    images: int
    references: int
    cpu_seconds: float
    wall_seconds: float
    peak_bytes: int
    map_bytes: int

    def line(self, title: str, poses: str) -> str:
        """Return a line of the table."""
        return (
            f"| {title} | {poses} | {self.references} of {self.images} | "
            f"{self.cpu_seconds / self.images:.1f} | {self.wall_seconds:.0f} s | "
            f"{self.peak_bytes / 1e9:.1f} GB | "
            f"{self.map_bytes / max(self.references, 1) / 1e3:.0f} |\n"
        )


def build(images: Path, model: Path | None, output: Path) -> Cost:
    """Build a map and return what it cost.

    Args:
        images: their folder.
        model: of their poses; None: from scratch.
        output: the map.
    """
    command = [
        sys.executable, "-m", "deviloc_ros.cli.main", "map", "build",
        "--images", str(images), "--output", str(output),
        *(() if model is None else ("--model", str(model), "--metric")),
    ]  # fmt: skip
    # What an interrupted run left would not be paid for again.
    shutil.rmtree(output.with_name(output.name + ".build"), ignore_errors=True)
    print("$ deviloc", *command[3:], file=sys.stderr)
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{images}: exit code {process.returncode}")
    info = [sys.executable, "-m", "deviloc_ros.cli.main", "map", "info", str(output), "--json"]
    told = json.loads(subprocess.run(info, stdout=subprocess.PIPE, check=True).stdout)
    return Cost(
        images=told["references"] + len(told["unregistered"]),
        references=told["references"],
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        wall_seconds=time.monotonic() - start,
        peak_bytes=usage.ru_maxrss * 1024,
        map_bytes=output.stat().st_size,
    )


def split(data: Path, name: str, step: int, first: int, work: Path) -> str:
    """Make a map of a part of a scene and localize the rest; return a line of the table."""
    posed = sorted(posed_images(data / name), key=lambda image: image.name)
    base = work / f"{name}-{step}-{first}"
    models = base.with_name(f"{base.name}-map"), base.with_name(f"{base.name}-queries")
    chosen = [item for i, item in enumerate(posed) if i % step == first]
    write_posed_images(models[0], chosen)
    write_posed_images(models[1], [item for item in posed if item not in chosen])
    place = base.with_suffix(".devmap")
    cost = kept_cost(place, data / name / "images", models[0])
    poses, program = base.with_suffix(".txt"), [sys.executable, "-m", "deviloc_ros.cli.main"]
    localize = ["localize", place, "--images", data / name / "images", "--model", models[1]]
    subprocess.run([*program, *map(str, localize), "--output", poses], check=True)
    evaluate = [*program, "evaluate", "--poses", poses, "--model", models[1], "--json"]
    errors = json.loads(subprocess.run(evaluate, stdout=subprocess.PIPE, check=True).stdout)
    count = cost.references
    return (
        f"| {name}, every {step} from {first} | {count} | {cost.cpu_seconds / count:.1f} | "
        f"{cost.map_bytes / count / 1e3:.0f} | {errors['num_localized']} of "
        f"{errors['num_images']} | {errors['median_position_error_m'] * 1e3:.1f} mm | "
        f"{errors['median_rotation_error_deg']:.3f} deg |\n"
    )


def kept_cost(place: Path, images: Path, model: Path | None) -> Cost:
    """Return what a map cost, which an earlier run may have noted beside it."""
    kept = place.with_suffix(".json")
    if not kept.exists():
        cost = build(images, model, place)
        with atomic_path(kept) as temporary:
            temporary.write_text(json.dumps(asdict(cost)), encoding="utf-8")
    return Cost(**json.loads(kept.read_text(encoding="utf-8")))


def scenes(data: Path, only: Sequence[str], work: Path) -> Iterator[tuple[str, str, Cost]]:
    """Yield title, what is said of poses, and cost of the map of each scene that is wanted."""
    for name, given in SCENES.items():
        images = data / name / "images"
        if (only and name not in only) or not images.is_dir():
            continue
        model = None
        if given:
            model = work / f"{name}-poses"
            write_posed_images(model, posed_images(data / name))
        poses = "given" if given else "from scratch"
        yield name, poses, kept_cost(work / f"{name}.devmap", images, model)


def drives(counts: Sequence[int], width: int, alone: bool, work: Path) -> Iterator[Cost]:
    """Yield what maps of drives cost."""
    for count in counts:
        base = work / f"drive-{count}-{width}"
        if not (base / "model").is_dir():
            camera = CAMERA.scaled(width, round(width * CAMERA.height / CAMERA.width))
            length = (count - 0.5) * SPACING
            scene = Scene(length=length, spacing=SPACING, camera=camera)
            images, model = photograph_first_pass(scene, base)
        else:
            images, model = base / "images", base / "model"
        place = base.with_name(f"{base.name}{'-alone' if alone else ''}.devmap")
        yield kept_cost(place, images, None if alone else model)


def plot(costs: Sequence[Cost], path: Path) -> None:
    """Draw costs by the number of images."""
    figure = Figure(figsize=(9.0, 2.4), layout="constrained")
    count = [cost.images for cost in costs]
    panels = {
        "CPU-seconds an image": [cost.cpu_seconds / cost.images for cost in costs],
        "wall seconds an image": [cost.wall_seconds / cost.images for cost in costs],
        "memory, GB": [cost.peak_bytes / 1e9 for cost in costs],
        "kB an image": [cost.map_bytes / max(cost.references, 1) / 1e3 for cost in costs],
    }
    for axes, (title, values) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.plot(count, values, "o-", color="tab:blue")
        axes.set(title=title, xlabel="images", xscale="log", ylim=(0, 1.3 * max(values)))
        axes.set_xticks(count, [str(each) for each in count])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the maps and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--only", nargs="+", choices=SCENES, default=[])
    parser.add_argument("--drives", nargs="+", type=int, default=[], metavar="N")
    parser.add_argument("--width", type=int, default=CAMERA.width, help="of the drives' images")
    parser.add_argument("--alone", action="store_true", help="drives without poses")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the costs of drives")
    parser.add_argument("--splits", action="store_true", help="how exact, instead of how dear")
    parser.add_argument("--output", type=Path)
    args = parser.parse_args(arguments)
    if args.data is None and not args.drives:
        parser.error("give DATA, or --drives")
    work = args.work or Path(tempfile.mkdtemp(prefix="map-cost-"))
    work.mkdir(parents=True, exist_ok=True)
    table = SPLIT_HEADER if args.splits else HEADER

    def tell(line: str) -> str:
        print(line, end="", flush=True)
        return line

    if args.splits:
        chosen = [item for item in SPLITS if not args.only or item[0] in args.only]
        for name, step, first in chosen:
            table += tell(split(args.data, name, step, first, work))
    elif args.data is not None:
        for title, poses, cost in scenes(args.data, args.only, work):
            table += tell(cost.line(title, poses))
    costs = []
    poses = "from scratch" if args.alone else "given"
    for cost in drives(args.drives, args.width, args.alone, work):
        costs.append(cost)
        table += tell(cost.line(f"simulated drive of {cost.images}, {args.width} px", poses))
        if args.plot is not None:
            plot(costs, args.plot)
    if args.output is not None:
        with atomic_path(args.output) as temporary:
            temporary.write_text(table, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
