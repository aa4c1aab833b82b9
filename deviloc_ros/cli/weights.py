"""`deviloc weights`: the published network's weights, and networks as ONNX files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from deviloc_ros.cli.arguments import Subparsers, add_command

DESCRIPTION = """\
Weights of the matcher 'topicfm'. They are not shipped: download deviloc_weights.ckpt from the
authors' repository and import it once. The default matcher, xfeat, needs nothing of this.

import  reads a checkpoint without running any code in it, checks every tensor against the
        published network, and keeps it as safetensors with a checksum.
list    shows what was imported and whether it is still intact.
export  writes a network as an ONNX file, for runtimes such as TensorRT; needs the package onnx."""

EXAMPLES = """\
  deviloc weights import deviloc_weights.ckpt
  deviloc weights list
  deviloc weights list --json
  deviloc weights export xfeat xfeat.onnx
  deviloc weights export xfeat xfeat.onnx --image-size 1344x896 --batch 1"""

# Keys of models/onnx_export.py, which loads torch.
EXPORTED = ("xfeat", "xfeat-fine", "topicfm")


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers,
        "weights",
        "import weights, export networks",
        DESCRIPTION,
        EXAMPLES,
    )
    actions = parser.add_subparsers(dest="action", metavar="import|list|export", required=True)
    importing = actions.add_parser("import", help="check, convert and keep checkpoints")
    importing.add_argument(
        "files",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="deviloc_weights.ckpt (all that localization needs) or topicfm_fast.ckpt",
    )
    listing = actions.add_parser("list", help="show what was imported")
    listing.add_argument("--json", action="store_true", help="print JSON instead of text")
    exporting = actions.add_parser("export", help="write a network as an ONNX file")
    exporting.add_argument(
        "network",
        choices=EXPORTED,
        help="XFeat's backbone, its fine matcher, or the backbone of topicfm",
    )
    exporting.add_argument("file", type=Path, metavar="FILE.onnx", help="the file to write")
    exporting.add_argument(
        "--image-size",
        type=_size,
        metavar="WxH",
        help="only for images of this size, px; default: any that the network takes",
    )
    exporting.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="only for so many inputs at once; default: any",
    )


def run(args: argparse.Namespace) -> int:
    """Import, list or export."""
    if args.action == "export":
        from deviloc_ros.models.onnx_export import export

        export(args.network, args.file, args.batch, args.image_size)
        print(args.file)
        return 0
    return _import(args.files) if args.action == "import" else _list(args.json)


def _size(text: str) -> tuple[int, int]:
    """Read a width and a height."""
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write it like 1344x896")
    return int(sides[0]), int(sides[1])


def _import(files: list[Path]) -> int:
    from deviloc_ros.models.checkpoint import read_checkpoint
    from deviloc_ros.models.weight_store import store

    # All are read before the first is kept: a bad file leaves everything as it was.
    checkpoints = [(path, read_checkpoint(path)) for path in files]
    for path, checkpoint in checkpoints:
        stored = store(checkpoint, path.name)
        kind, state = checkpoint.kind, checkpoint.state
        parameters = sum(
            tensor.numel()
            for key, tensor in state.items()
            if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
        )
        print(f"{path}: {kind.published_name}, {len(state)} tensors, {parameters} parameters")
        if checkpoint.is_published:
            print("  it is, bit for bit, the file of the authors' repository")
        else:
            print(
                "  keys and shapes fit, but it is not the file of the authors' repository: "
                f"git hash-object gives {checkpoint.git_blob}, theirs is {kind.git_blob}"
            )
        if checkpoint.ignored:
            print(f"  left out: {', '.join(checkpoint.ignored)}")
        print(f"  kept as {stored.path}, sha256 {stored.sha256}")
    return 0


def _list(as_json: bool) -> int:
    from deviloc_ros.models.weight_store import is_intact, stored_weights, weights_directory

    entries = [
        {
            "name": stored.name,
            "path": str(stored.path),
            "source": stored.source,
            "published": stored.published,
            "sha256": stored.sha256,
            "intact": is_intact(stored),
        }
        for stored in stored_weights()
    ]
    if as_json:
        print(json.dumps(entries, indent=2))
        return 0
    for entry in entries:
        origin = "the authors' file" if entry["published"] else "not the authors' file"
        state = "intact" if entry["intact"] else "DAMAGED, import it again"
        print(f"{entry['name']}: from {entry['source']} ({origin}), {state}")
        print(f"  {entry['path']}, sha256 {entry['sha256']}")
    if not entries:
        print(f"nothing imported into {weights_directory()}; see 'deviloc weights --help'")
    return 0
