"""`deviloc map extend`: add images of another day or place to a map."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import (
    Subparsers,
    add_command,
    add_config,
    check_output,
    load_config,
    note,
    tell,
    tell_unread,
)
from deviloc_ros.cli.map.bag import take_images
from deviloc_ros.cli.map.bag_options import add_bag
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.mapping.living.frame_fit import FrameFit

EXTEND = """\
Add images to a map: another look of the place, such as the night, or what lies beside it. The
images are localized in the map and matched with its images and each other; their poses are adjusted
together while those of the map are held. Images that the map does not show are added if enough of
their matches lead there. With --bag, images and their camera come from a bag. The result is another
map file. Before it is written, the map's old images are localized in both maps; if fewer are found
or their errors grow, nothing is written (exit code 3)."""

EXTEND_EXAMPLES = """\
  deviloc map extend day.devmap --images evening/ --cameras cameras.txt --label evening \\
      --output both.devmap
  deviloc map extend day.devmap --bag night_drive/ --label night --output both.devmap
  deviloc map extend north.devmap --images south/ --model surveyed/ --metric --output all.devmap"""


def add_extend(actions: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(actions, "extend", "add images to a map", EXTEND, EXTEND_EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="the map file")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--images", type=Path, metavar="DIR", help="folder of the new images")
    add_bag(parser, images, frame=False)
    cameras = parser.add_mutually_exclusive_group()
    cameras.add_argument(
        "--model",
        type=Path,
        metavar="COLMAP_DIR",
        help="COLMAP model of the new images: its intrinsics and poses are taken as given, in its "
        "own frame or the map's; how that lies in the map is found by localizing",
    )
    cameras.add_argument(
        "--cameras",
        type=Path,
        metavar="FILE",
        help="COLMAP's cameras.txt with the one camera of all images, or lines "
        "'name MODEL w h param ...': then the images named are added",
    )
    cameras.add_argument(
        "--camera", metavar='"MODEL w h param ..."', help="the one camera of all images"
    )
    parser.add_argument("--metric", action="store_true", help="the given model is in metres")
    parser.add_argument(
        "--same-frame",
        action="store_true",
        help="the given model is in the map's frame, as surveyed: its poses are used unchanged",
    )
    parser.add_argument(
        "--label", metavar="NAME", help="name of the look, such as night; default: a number"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="MAP2", help="the map file to write"
    )
    parser.add_argument(
        "--adjust-old",
        action="store_true",
        help="let poses of the map's images move, too: old and new ones are adjusted jointly",
    )
    parser.add_argument(
        "--keep-workspace", action="store_true", help="leave COLMAP's files in MAP2.build"
    )
    add_config(parser)


def run_extend(args: argparse.Namespace) -> int:
    """Extend the map."""
    check_output(args.output)
    if (args.metric or args.same_frame) and args.model is None:
        raise InputError("--metric and --same-frame describe a given model: give --model")
    check_label(args.label)

    from deviloc_ros.datasets.colmap import posed_images
    from deviloc_ros.datasets.image_folder import list_images
    from deviloc_ros.mapping.living.extend import ExtendOptions, extend_map
    from deviloc_ros.offline.query_cameras import (
        QueryCameras,
        cameras_of_model,
        one_camera,
        read_cameras,
    )

    posed = None
    taken = take_images(args)
    folder = args.images if taken is None else taken.folder
    if taken is not None:
        given = QueryCameras(str(args.bag), None, taken.cameras)
    elif args.model is not None:
        given, posed = cameras_of_model(args.model), posed_images(args.model)
    elif args.cameras is not None:
        given = read_cameras(args.cameras)
    elif args.camera is not None:
        given = one_camera(args.camera)
    else:
        raise InputError("--images needs one of --model, --cameras and --camera")
    pairing = given.pair(list_images(folder))
    tell_unread(folder)
    if pairing.without_camera:
        note(
            f"{len(pairing.without_camera)} images of {folder} have no camera in "
            f"{given.source} and are not added ({pairing.without_camera[0]}, ...)"
        )
    options = ExtendOptions(
        args.label,
        args.metric,
        args.same_frame,
        args.adjust_old,
        load_config(args),
        args.keep_workspace,
    )
    summary = extend_map(args.map, folder, pairing.cameras, posed, args.output, options)
    unit = "m" if summary.map.metric else "units"
    tell(
        f"{args.output}: {summary.num_added} of {summary.num_images} images added as look "
        f"{summary.look!r}, {summary.num_localized} of them localized in the map; "
        f"{len(summary.map.references)} images in all",
        args.output,
    )
    if summary.frame is not None:
        tell(f"  the given poses: {frame_text(summary.frame, unit)}", args.output)
    tell(f"  old images, old map -> new map: {summary.check.text(unit)}", args.output)
    for name, reason in sorted(summary.left_out.items()):
        tell(f"  not added: {name}: {reason}", args.output)
    if taken is not None:
        taken.remove(args.keep_workspace)
    return 0


def check_label(label: str | None) -> None:
    """Refuse a name of a look that cannot be part of image names.

    Raises:
        InputError: it is empty, or has a slash or an unprintable character.
    """
    if label is not None and (not label.strip() or "/" in label or not label.isprintable()):
        raise InputError(f"--label {label!r}: must be a name without '/', such as night")


def frame_text(frame: FrameFit, unit: str) -> str:
    """Return in a line how a frame lies in the map's, and how well that is known."""
    fit = frame.target_from_source
    found = (
        "are in the map's frame"
        if frame.same_frame
        else f"brought into the map's frame (scale {fit.scale:.6g})"
    )
    return (
        f"{found}; {frame.num_agreeing} of {frame.num_images} localized images agree, median "
        f"{frame.position_residual:.4f} {unit}, {frame.rotation_residual:.3f} deg"
    )
