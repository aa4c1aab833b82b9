"""`deviloc map prune`: a smaller map."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from deviloc_ros.cli.arguments import (
    Subparsers,
    add_command,
    add_config,
    check_output,
    load_config,
    tell,
)
from deviloc_ros.errors import InputError

PRUNE = """\
Write a map of fewer images. Those that others can replace are dropped: images whose points many
others of the same look see. With --usage, images that localization runs used are kept rather than
others. Dropped images are then localized without themselves in the map before and after, which
tells what the smaller map costs."""

PRUNE_EXAMPLES = """\
  deviloc map prune place.devmap --images 200 --output small.devmap
  deviloc map prune place.devmap --target-mb 50 --usage monday.json tuesday.json \\
      --output small.devmap          # written by 'deviloc localize --json'"""


def add_prune(actions: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(actions, "prune", "make a map smaller", PRUNE, PRUNE_EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="the map file")
    to = parser.add_mutually_exclusive_group(required=True)
    to.add_argument("--images", type=int, metavar="N", help="images that are to be left")
    to.add_argument("--target-mb", type=float, metavar="S", help="megabytes that are to be left")
    parser.add_argument(
        "--usage",
        type=Path,
        nargs="+",
        default=[],
        metavar="STATS",
        help="statistics of runs: what 'deviloc localize --json' wrote, or summary.json of "
        "'deviloc bag'",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="MAP2", help="the map file to write"
    )
    add_config(parser)


def run_prune(args: argparse.Namespace) -> int:
    """Prune the map."""
    check_output(args.output)
    if args.images is not None and args.images < 1:
        raise InputError(f"--images {args.images}: must be at least 1")
    if args.target_mb is not None and not 0 < args.target_mb < math.inf:
        raise InputError(f"--target-mb {args.target_mb:g}: must be above 0")

    from deviloc_ros.mapping.living.prune import PruneOptions, prune_map
    from deviloc_ros.offline.stats import read_usage

    options = PruneOptions(
        num_images=args.images,
        target_bytes=None if args.target_mb is None else int(args.target_mb * 1e6),
        usage=read_usage(args.usage),
        config=load_config(args),
    )
    summary = prune_map(args.map, args.output, options)
    unit = "m" if summary.map.metric else "units"
    tell(
        f"{args.output}: {len(summary.map.references)} of {summary.num_before} images, "
        f"{args.output.stat().st_size / 1e6:.1f} MB",
        args.output,
    )
    tell(f"  dropped images, old map -> new map: {summary.cost.text(unit)}", args.output)
    return 0
