"""`deviloc map merge`: two maps of places that overlap become one."""

from __future__ import annotations

import argparse
from pathlib import Path

from deviloc_ros.cli.arguments import (
    Subparsers,
    add_command,
    add_config,
    check_output,
    load_config,
    tell,
)
from deviloc_ros.cli.map.extend import check_label, frame_text

MERGE = """\
Make one map of two that show the same place in part. Images of each are localized in the other,
which gives the frame: that of the first map is kept, the second is moved (and scaled, unless both
are metric) as a whole. How far localized images lie from where their own map has them is the seam.
Then both are adjusted jointly: the second map bends to the first, which stays (--rigid: it does
not).
Nothing is written if the maps contradict each other, or if the merged map localizes images of the
first one worse (exit code 3)."""

MERGE_EXAMPLES = """\
  deviloc map merge north.devmap south.devmap --output both.devmap
  deviloc map merge day.devmap night.devmap --label night --output both.devmap"""


def add_merge(actions: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(actions, "merge", "make one map of two", MERGE, MERGE_EXAMPLES)
    parser.add_argument("first", type=Path, metavar="A", help="the map whose frame is kept")
    parser.add_argument("second", type=Path, metavar="B", help="the map that is moved")
    parser.add_argument(
        "--label", metavar="NAME", help="name of the look that B shows; default: looks stay"
    )
    parser.add_argument(
        "--rigid", action="store_true", help="move B as a whole, without bending it to A"
    )
    parser.add_argument(
        "--same-frame",
        action="store_true",
        help="both maps are in one frame (of a survey, say): B is neither moved nor bent",
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="MAP", help="the map file to write"
    )
    add_config(parser)


def run_merge(args: argparse.Namespace) -> int:
    """Merge the maps."""
    check_output(args.output)
    check_label(args.label)

    from deviloc_ros.mapping.living.merge import MergeOptions, merge_maps

    options = MergeOptions(
        load_config(args), args.label, refine=not args.rigid, same_frame=args.same_frame
    )
    summary = merge_maps(args.first, args.second, args.output, options)
    unit = "m" if summary.map.metric else "units"
    tell(f"{args.output}: {len(summary.map.references)} images", args.output)
    tell(f"  {args.second}: {frame_text(summary.frame, unit)}", args.output)
    tell(
        f"  localized: {summary.localized[0]} of {summary.tried[0]} images of {args.second}, "
        f"{summary.localized[1]} of {summary.tried[1]} of {args.first}",
        args.output,
    )
    seam = f"{summary.seam[0]:.4f} {unit}, {summary.seam[1]:.3f} deg"
    if summary.refined is not None:
        seam += f"; after both were adjusted jointly {summary.refined[0]:.4f} {unit}, "
        seam += f"{summary.refined[1]:.3f} deg"
    tell(f"  seam: {seam}", args.output)
    tell(f"  images of {args.first}, before -> merged: {summary.check.text(unit)}", args.output)
    return 0
