"""`deviloc train`: the point inference network of matcher xfeat."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from deviloc_ros.cli.arguments import Subparsers, add_command
from deviloc_ros.errors import InputError
from deviloc_ros.lock import sole_user

DESCRIPTION = """\
Train the network that gives reference keypoints their depth (lifting.method learned; docs/pin.md).
It learns from scenes that the command renders itself, from observations of COLMAP models that it
hides, and from images of a depth sensor. An interrupted run goes on where it stopped when the same
command is given again; with the same seed the result is the same.

Written to the output folder: pin.safetensors (weights), curves.png, report.json, checkpoint.pt,
and the rendered views."""

EXAMPLES = """\
  deviloc train --output training/
  deviloc train --output training/ --model family/sparse fox/sparse --steps 8000
  deviloc train --output training/ --scenes 0 --rgbd desk/        # images/ and depth/ in desk/"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "train", "train the point inference network", DESCRIPTION, EXAMPLES
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for all that is written"
    )
    parser.add_argument(
        "--model", type=Path, nargs="+", default=[], metavar="COLMAP_DIR",
        help="models whose observations are learned from",
    )  # fmt: skip
    parser.add_argument(
        "--rgbd", type=Path, nargs="+", default=[], metavar="DIR",
        help="folders with images/ and depth/ (16-bit PNG, 5000 a metre)",
    )  # fmt: skip
    parser.add_argument(
        "--scenes", type=int, default=24, help="rendered scenes of each kind, default 24; 0: none"
    )
    parser.add_argument("--steps", type=int, default=4000, help="batches, default 4000")
    parser.add_argument("--views", type=int, default=6, help="views a batch, default 6")
    parser.add_argument("--keypoints", type=int, default=256, help="keypoints a view, default 256")
    parser.add_argument(
        "--every", type=int, default=250, help="steps between checkpoints, default 250"
    )
    parser.add_argument("--seed", type=int, default=0, help="of scenes, batches and weights")


def run(args: argparse.Namespace) -> int:
    """Train."""
    for name, least in (
        ("scenes", 0), ("steps", 1), ("views", 1), ("keypoints", 2), ("every", 1), ("seed", 0),
    ):  # fmt: skip
        if getattr(args, name) < least:
            raise InputError(f"--{name} {getattr(args, name)}: must be {least} or more")
    if args.scenes == 1:
        raise InputError("--scenes 1: one scene of each kind is held out; give 0, 2 or more")

    with sole_user(args.output):
        return _train(args)


def _train(args: argparse.Namespace) -> int:
    """Train into a folder that nobody else uses."""
    from deviloc_ros.training.batches import BatchSource
    from deviloc_ros.training.curves import draw_curves
    from deviloc_ros.training.run import gather
    from deviloc_ros.training.trainer import Trainer, TrainingOptions

    data = gather(args.output, args.scenes, args.model, args.rgbd, args.seed)
    settings = args.views, args.keypoints
    source = BatchSource(data.scenes, data.dense, data.sparse, args.seed, *settings)
    options = TrainingOptions(
        steps=args.steps,
        seed=args.seed,
        every=args.every,
        data=(*data.names, f"{args.views} views", f"{args.keypoints} keypoints"),
    )
    trainer = Trainer(args.output, options)
    result = trainer.run(source, data.held_out(args.seed, *settings))
    trainer.export(args.output / "pin.safetensors")
    draw_curves(trainer.history, args.output / "curves.png")
    report = json.dumps({"options": asdict(options), "validation": asdict(result)}, indent=2)
    (args.output / "report.json").write_text(report + "\n", encoding="utf-8")
    print(
        f"held-out scenes: mean depth error {result.mean_error:.4f} "
        f"(geometric {result.geometric_mean_error:.4f}), above 5 % "
        f"{result.large_errors:.4f} ({result.geometric_large_errors:.4f}), "
        f"calibration error {result.calibration_error:.4f}"
    )
    print(args.output / "pin.safetensors")
    return 0
