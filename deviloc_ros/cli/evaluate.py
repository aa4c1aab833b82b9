"""`deviloc evaluate`: pose errors against ground truth."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import Subparsers, add_command, check_output
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.geometry.transform import Transform

DESCRIPTION = """\
Compare poses with the truth. Images are matched by name. An image of the model without a pose in
the file counts as a failure in every recall, and is left out of the medians."""

EXAMPLES = """\
  deviloc evaluate --poses poses.txt --model ground_truth/
  deviloc evaluate --poses poses.txt --model ground_truth/ --table --thresholds 0.1,1 0.05,0.5
  deviloc evaluate --poses poses.txt --model fox/ --align sim3     # a map without metric scale
  deviloc evaluate --poses poses.txt --model ground_truth/ --stats stats.json   # and covariances
  deviloc evaluate --poses poses.txt --model ground_truth/ --json > errors.json"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "evaluate", "errors of poses against ground truth", DESCRIPTION, EXAMPLES
    )
    parser.add_argument(
        "--poses",
        type=Path,
        required=True,
        metavar="FILE",
        help="lines 'name qw qx qy qz tx ty tz', world to camera, as 'deviloc localize' writes",
    )
    parser.add_argument(
        "--model", type=Path, required=True, metavar="COLMAP_DIR", help="model with the true poses"
    )
    parser.add_argument(
        "--thresholds",
        nargs="+",
        default=[],
        metavar="M,DEG",
        help="more thresholds besides 0.25,2 0.5,5 5,10",
    )
    parser.add_argument(
        "--align",
        choices=("none", "se3", "sim3"),
        default="none",
        help="first move all poses by the one rigid (se3) or similarity (sim3) transform that "
        "fits them to the truth, robustly; for maps in another frame or scale",
    )
    parser.add_argument(
        "--stats",
        type=Path,
        metavar="FILE.json",
        help="what 'deviloc localize --json' wrote with the poses: also tell whether its "
        "covariances are true (NEES per degree of freedom, 1 where they are)",
    )
    parser.add_argument("--table", action="store_true", help="print the errors of every image")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument(
        "--report", type=Path, metavar="FILE.html", help="write a page with plots and all errors"
    )
    parser.add_argument(
        "--map",
        type=Path,
        metavar="MAP",
        help="with --report: beside it FILE.view.html shows the poses in this map, in 3D",
    )


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    from deviloc_ros.datasets.colmap import posed_images
    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.evaluation.errors import (
        BENCHMARK_THRESHOLDS,
        Threshold,
        evaluate_fitted,
        evaluate_poses,
    )
    from deviloc_ros.evaluation.nees import nees_json, nees_of_poses, nees_text
    from deviloc_ros.evaluation.tables import image_table, summary_text, to_json
    from deviloc_ros.offline.stats import read_covariances

    check_output(args.report)
    if args.map is not None and args.report is None:
        raise InputError("--map is shown beside the report: give --report")
    if args.stats is not None and args.align != "none":
        raise InputError("--stats needs poses in the frame of the truth; leave --align out")
    thresholds = list(
        dict.fromkeys((*BENCHMARK_THRESHOLDS, *map(Threshold.parse, args.thresholds)))
    )
    estimated = read_poses(args.poses)
    truth = {image.name: image.camera_from_map for image in posed_images(args.model)}
    if estimated and not set(estimated) & set(truth):
        raise InputError(
            f"{args.poses}: names none of the images of {args.model}: {next(iter(estimated))!r} "
            f"against {next(iter(truth))!r}"
        )
    if args.align == "none":
        evaluation = evaluate_poses(estimated, truth)
    else:
        evaluation = evaluate_fitted(estimated, truth, fixed_scale=args.align == "se3")
    consistency = None
    if args.stats is not None:
        consistency = nees_of_poses(estimated, read_covariances(args.stats), truth)
    if args.report is not None:
        from deviloc_ros.evaluation.report import write_report

        view = None
        if args.map is not None:
            view = args.report.with_suffix(".view.html")
            _write_view(view, args, estimated)
        write_report(
            args.report, evaluation, thresholds, estimated, truth, None if not view else view.name
        )
    if args.json:
        content = to_json(evaluation, thresholds)
        if consistency is not None:
            content["nees"] = nees_json(*consistency)
        print(json.dumps(content, indent=2, allow_nan=False))
        return 0
    if args.table:
        print(image_table(evaluation), end="\n\n")
    print(summary_text(evaluation, thresholds))
    if consistency is not None:
        print(nees_text(*consistency))
    return 0


def _write_view(path: Path, args: argparse.Namespace, estimated: Mapping[str, Transform]) -> None:
    from deviloc_ros.mapping.pages.view_page import write_view
    from deviloc_ros.maps.open_map import open_map
    from deviloc_ros.offline.stats import read_covariances

    covariances = {} if args.stats is None else read_covariances(args.stats)
    write_view(path, open_map(args.map), estimated, covariances, args.map.name)
