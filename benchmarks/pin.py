"""What the lift is worth: maps with fewer, wrong and other points, and harder queries.

    ./run bench pin DATA [--work DIR] [--only SCENE ...] [--blocks BLOCK ...]
                    [--lifts LIFT ...] [--tables] [--output tables.md]

DATA holds castle-P30, castle-P19, kitti-residential, fountain-P11, entry-P10, fox and tum-fr1-rpy,
each with images/ and a COLMAP text model of true poses. Every query of every scene is in the
tables. Maps and results are kept in --work as soon as they are there, and what is there is not
computed again: an interrupted run goes on (remove it after a change of code). Tables are of all
that is in --work; with --tables nothing is added to it. Scenes whose maps are of few images are
measured when --only names them (castle-few kitti-few fountain-few entry-few fox-few).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from accuracy import Bench
from lifting.lifts import LIFTS
from lifting.maps import BLOCKS
from lifting.measure import Measurement
from lifting.results import read_results
from lifting.scenes import OF_FEW, SCENES
from lifting.tables import Result, depth_table, pose_table, reliability_table, summary_table

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import AlignmentConfig, LocalizerConfig

BASE = "geometric, views agree"


def tables(results: Sequence[Result]) -> str:
    """Return everything as Markdown."""
    parts = ["## Summary\n\n" + summary_table(results, BASE)]
    for block in dict.fromkeys(result.block for result in results):
        own = [result for result in results if result.block == block]
        parts.append(f"## Poses: {block}\n\n{pose_table(own)}")
        for title, source in (("hidden observations", "hidden"), ("sensor depth", "sensor")):
            text = depth_table(own, source)
            if text:
                parts.append(f"## Depths at {title}: {block}\n\n{text}")
    parts.append(f"## Reliability at hidden observations\n\n{reliability_table(results)}")
    return "\n".join(parts)


def main() -> int:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with one folder a scene")
    parser.add_argument("--work", type=Path, help="folder for maps and results, kept")
    parser.add_argument("--only", nargs="+", choices=[*SCENES, *OF_FEW], default=list(SCENES))
    parser.add_argument("--blocks", nargs="+", choices=BLOCKS, default=list(BLOCKS))
    parser.add_argument("--lifts", nargs="+", choices=LIFTS, default=list(LIFTS))
    parser.add_argument("--tables", action="store_true", help="only print what was measured")
    parser.add_argument("--output", type=Path, help="write the tables to a file too")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="deviloc-pin-"))
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.data, work, [])
    # What a lift is worth shows best where matches are not aligned by their pixels.
    config = LocalizerConfig(alignment=AlignmentConfig(enabled=False))
    measurements: dict[str, Measurement] = {}
    for block in [] if args.tables else args.blocks:
        for name in args.only:
            if name not in measurements:
                measurements[name] = Measurement(
                    {**SCENES, **OF_FEW}[name](bench), work, config, args.lifts
                )
            if block in measurements[name].blocks:
                measurements[name].block(block)
            print(f"{block}: {name} done", file=sys.stderr, flush=True)
    text = tables(read_results(work))
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
