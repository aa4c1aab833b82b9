"""`deviloc benchmark`: from a benchmark's folder to the file that its server takes."""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from deviloc_ros.benchmark.names import NAMES
from deviloc_ros.cli.arguments import (
    Subparsers,
    add_command,
    add_config,
    add_workers,
    load_config,
    note,
)
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from tqdm import tqdm

    from deviloc_ros.benchmark.run import PlaceRun, RunOptions
    from deviloc_ros.benchmark.types import Benchmark, Place

DESCRIPTION = """\
Run a benchmark of visual localization: build its maps, localize its queries, and write the file
that the benchmark's server takes, or the scores where true poses are public. docs/benchmarks.md
shows the layout of every folder. The same command again goes on where it was interrupted, and
keeps maps and poses whose inputs did not change.

--output is a folder that gets
  the result file    named as the server wants it, such as Aachen_eval_METHOD.txt
  queries.json       every query: pose or reason, inliers, times, errors
  report.html        recall by condition, published results, time by stage, worst cases
  maps/, queries/    maps and finished queries, for the next run"""

EXAMPLES = """\
  deviloc benchmark aachen Aachen-Day-Night/ --output aachen
  deviloc benchmark aachen Aachen-Day-Night/ --output paper --matcher topicfm \\
      --config config/benchmarks/aachen.yaml --pairs pairs-query-netvlad50.txt
  deviloc benchmark cmu Extended-CMU-Seasons/ --output cmu --places slice2,slice3 \\
      --pairs "Extended-CMU-Seasons/{place}/pairs-query-cosplace10.txt"
  deviloc benchmark 7scenes 7scenes/ --output scenes --places chess --subset 100
  deviloc benchmark robotcar-public RobotCar-Seasons/ --output robotcar"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "benchmark", "run a benchmark of visual localization", DESCRIPTION, EXAMPLES
    )
    parser.add_argument("name", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("root", type=Path, metavar="ROOT", help="the benchmark's folder")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--places", metavar="NAME,...", help="only these scenes, slices or submaps; default: all"
    )
    parser.add_argument(
        "--subset", type=int, metavar="N", help="only N queries, taken evenly from all"
    )
    given = parser.add_mutually_exclusive_group()
    given.add_argument(
        "--pairs",
        metavar="FILE",
        help="lines 'query reference' that replace retrieval, as hloc writes them; {place} stands "
        "for the name of a scene, slice or submap",
    )
    given.add_argument(
        "--global-features",
        metavar="FILE.h5",
        help="hloc's global descriptors of references and queries, which replace retrieval",
    )
    parser.add_argument(
        "--matches", action="store_true", help="write the matches of every query to matches/*.h5"
    )
    parser.add_argument(
        "--rig",
        action="store_true",
        help="localize the images of one instant together (RobotCar: left, rear and right camera)",
    )
    parser.add_argument(
        "--method", metavar="METHOD", help="name in the result file (deviloc_ros_MATCHER)"
    )
    parser.add_argument(
        "--pictures", type=int, default=6, metavar="N", help="worst cases in the report (6)"
    )
    add_workers(parser)
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark."""
    if args.subset is not None and args.subset < 1:
        raise InputError(f"--subset {args.subset}: must be at least 1")
    if args.pictures < 0:
        raise InputError(f"--pictures {args.pictures}: must not be negative")
    config = load_config(args)
    method = args.method or f"deviloc_ros_{config.matching.matcher}"
    if not re.fullmatch(r"[\w.+-]+", method):
        raise InputError(f"--method {method!r}: use letters, digits and . + - _ only")
    if args.rig:
        method += "_rig"
    if args.subset is not None:
        method += f"_subset{args.subset}"

    from deviloc_ros.benchmark.open import open_benchmark
    from deviloc_ros.benchmark.run import RunOptions, plan
    from deviloc_ros.cluster.workers import open_workers

    places = None if args.places is None else args.places.split(",")
    benchmark = open_benchmark(args.name, args.root, places)
    options = RunOptions(
        config, args.subset, args.pairs, args.global_features, args.matches, rig=args.rig
    )
    runs = plan(benchmark, args.output, options)
    with open_workers(args.workers) as workers:
        return _run(benchmark, runs, replace(options, workers=workers), method, args)


class _Progress:
    """Shows how far the run is."""

    def __init__(self, bar: tqdm[NoReturn]) -> None:
        self._bar = bar

    def building(self, place: Place) -> None:
        self._bar.write(f"building the map of {place.name}", file=sys.stderr)

    def kept(self, count: int) -> None:
        self._bar.update(count)

    def localized(self) -> None:
        self._bar.update()


def _run(
    benchmark: Benchmark,
    runs: list[PlaceRun],
    options: RunOptions,
    method: str,
    args: argparse.Namespace,
) -> int:
    from tqdm import tqdm

    from deviloc_ros.benchmark.results import REPORT, write_results
    from deviloc_ros.benchmark.run import MAPS, QUERIES, run_place
    from deviloc_ros.benchmark.scores import scores_text
    from deviloc_ros.lock import sole_user

    output: Path = args.output
    total = sum(len(item.queries) for item in runs)
    with sole_user(output / QUERIES):
        (output / MAPS).mkdir(exist_ok=True)
        with tqdm(total=total, desc="localizing", unit="image", disable=None) as bar:
            progress = _Progress(bar)
            done = [run_place(item, benchmark, output, options, progress) for item in runs]
        written = write_results(benchmark, done, output, method, options, args.pictures)
    for text in written.notes:
        note(text)
    print(scores_text(written.scores, benchmark))
    for path in (*written.result_files, output / REPORT):
        print(path)
    return 0 if written.num_poses else 3
