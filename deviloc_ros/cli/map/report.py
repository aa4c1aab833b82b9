"""--report of `deviloc map build`: a page about the map, with a link to the page that shows it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import check_output, load_config, tell
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from deviloc_ros.cli.map.bag import TakenImages
    from deviloc_ros.mapping.build import BuildSummary


def add_report(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments."""
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE.html",
        help="write a page: trajectory over points, what was left out and why, where coverage is "
        "thin, how well each stretch can be expected to localize; beside it FILE.view.html shows "
        "the map in 3D (with --bag: MAP's name with .html)",
    )
    parser.add_argument(
        "--no-report", action="store_true", help="with --bag: do not write that page"
    )


def report_path(args: argparse.Namespace) -> Path | None:
    """Return the page to write, and refuse one that cannot be written.

    Raises:
        InputError: the options contradict each other, or the page cannot be written there.
    """
    if args.report is not None and args.no_report:
        raise InputError("--no-report contradicts --report")
    if args.report is not None and (args.dataset is not None or args.places is not None):
        raise InputError("--report is of a map, and does not go with --dataset and --places")
    path: Path | None = args.report
    # A map that goes into a pipe or device has no place beside it.
    regular = args.output.is_file() or not args.output.exists()
    if path is None and args.bag is not None and not args.no_report and regular:
        path = args.output.with_suffix(".html")
    if path is not None and path == args.output:
        raise InputError(f"--report {path}: is the map's own name; give another one")
    check_output(path)
    return path


def write_report(
    args: argparse.Namespace,
    path: Path,
    summary: BuildSummary,
    taken: TakenImages | None,
    lines: list[str],
) -> None:
    """Write the page and the one that it links to, and say what it says in short."""
    from deviloc_ros.mapping.living.extend import config_of
    from deviloc_ros.mapping.pages.build_report import (
        ReportInputs,
        stretch_lines,
        write_build_report,
    )
    from deviloc_ros.mapping.pages.stretches import examine
    from deviloc_ros.mapping.pages.view_page import write_view

    built = summary.map
    view = path.with_suffix(".view.html")
    write_view(view, built, {}, {}, args.output.name)
    way = examine(
        built, config_of(built, load_config(args)), is_rig=taken is not None and bool(taken.rig)
    )
    unit = "m" if built.metric else "units"
    expected = stretch_lines(way, unit)
    inputs = ReportInputs(
        args.output.name,
        [*lines, *expected],
        {} if taken is None else _passed(taken),
        {} if taken is None else taken.odometry,
        _fixes(summary, taken),
        view.name,
    )
    write_build_report(path, built, way, inputs)
    for line in expected:
        tell(f"  {line}", args.output)
    tell(f"  report: {path}", args.output)


def _passed(taken: TakenImages) -> dict[str, int]:
    """Return how many images of the bag were not taken, by the reason."""
    passed = dict(taken.choice["passed"])
    if taken.choice["unusable"]:
        first = taken.choice["unusable_first"][0]
        passed[f"cannot be used (the first: {first})"] = taken.choice["unusable"]
    return passed


def _fixes(summary: BuildSummary, taken: TakenImages | None) -> NDArray[np.float64]:
    """Return where a satellite receiver has the antenna (N, 3), in the map frame."""
    import numpy as np
    import pycolmap

    if taken is None or summary.drive is None or summary.drive.origin is None:
        return np.zeros((0, 3))
    places = np.array([fix.place for fix in taken.fixes])
    earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
    return np.asarray(earth.ellipsoid_to_enu(places, *summary.drive.origin))
