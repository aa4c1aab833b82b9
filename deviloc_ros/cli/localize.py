"""`deviloc localize`: poses of images in a map."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import (
    Subparsers,
    add_command,
    add_config,
    check_output,
    load_config,
    tell,
    tell_unread,
)
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.maps.map import Map
    from deviloc_ros.maps.tiled_map import TiledMap
    from deviloc_ros.offline.image_folder import LocalizedImage
    from deviloc_ros.offline.query_cameras import QueryCameras, QueryPairing

DESCRIPTION = """\
Localize every query image in a map. Poses are written as 'name qw qx qy qz tx ty tz', world to
camera, as visuallocalization.net takes them. An image that cannot be localized is left out there;
--json says why for each, with stage times, inliers and covariance."""

EXAMPLES = """\
  deviloc localize place.devmap --images queries/ --cameras cameras.txt --output poses.txt
  deviloc localize place.devmap --images queries/ --model queries_colmap/ --output poses.txt
  deviloc localize place.devmap --images queries/ --camera "PINHOLE 1280 720 910 910 640 360" \\
      --output poses.txt --json stats.json --debug-dir pictures/
  deviloc localize place.devmap ... --set retrieval.num_references=10 --set seed=1
  deviloc localize --keys                                    # all keys that --set takes"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(subparsers, "localize", "poses of images in a map", DESCRIPTION, EXAMPLES)
    parser.add_argument("map", type=Path, metavar="MAP", help="map file of 'deviloc map build'")
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="folder of the query images"
    )
    cameras = parser.add_mutually_exclusive_group(required=True)
    cameras.add_argument(
        "--cameras",
        type=Path,
        metavar="FILE",
        help="COLMAP's cameras.txt with the one camera of all images, or lines "
        "'name MODEL w h param ...': then the images named are the queries",
    )
    cameras.add_argument(
        "--model",
        type=Path,
        metavar="COLMAP_DIR",
        help="COLMAP model that holds the query images; only its cameras are used",
    )
    cameras.add_argument(
        "--camera", metavar='"MODEL w h param ..."', help="the one camera of all images"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="POSES", help="the pose file to write"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of every image")
    parser.add_argument(
        "--debug-dir", type=Path, metavar="DIR", help="write a picture of every image's matches"
    )
    parser.add_argument(
        "--view",
        type=Path,
        metavar="PAGE.html",
        help="write a page that shows the poses with their covariances in the map, in 3D",
    )
    parser.add_argument(
        "--batch", type=int, default=1, metavar="N", help="images in one pass of the network (1)"
    )
    add_config(parser)


def run(args: argparse.Namespace) -> int:
    """Localize, and write what was found; also when interrupted."""
    check_output(args.output)
    check_output(args.json)
    check_output(args.view)
    if args.batch < 1:
        raise InputError(f"--batch {args.batch}: must be at least 1")

    from tqdm import tqdm

    from deviloc_ros.datasets.image_folder import list_images
    from deviloc_ros.datasets.poses import write_poses

    config = load_config(args)
    pairing = _query_cameras(args).pair(list_images(args.images))
    _tell_left_out(pairing)
    tell_unread(args.images)
    if args.debug_dir is not None:
        args.debug_dir.mkdir(parents=True, exist_ok=True)

    from deviloc_ros.localization import Localizer
    from deviloc_ros.offline.image_folder import localize_folder

    localizer = Localizer.load(args.map, config)
    queries: list[LocalizedImage] = []
    interrupted = False
    failure: Exception | None = None
    found = localize_folder(localizer, args.images, pairing.cameras, args.batch)
    progress = tqdm(
        found, total=len(pairing.cameras), desc="localizing", unit="image", disable=None
    )
    try:
        for query in progress:
            queries.append(query)
            if args.debug_dir is not None:
                _write_picture(args.debug_dir, args.images, query)
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:  # what was found until now is written first
        failure = error

    poses = {query.name: query.estimate.camera_from_map for query in queries if query.estimate}
    for name, reason in write_poses(args.output, poses).items():
        print(
            f"deviloc: note: the pose of {name!r} is not in {args.output}: {reason}; "
            + (f"it is in {args.json}" if args.json else "--json FILE holds it"),
            file=sys.stderr,
        )
    if args.json is not None:
        from deviloc_ros.maps.map_file import map_id
        from deviloc_ros.offline.stats import write_stats

        context = {
            "map": {"path": str(args.map), "id": map_id(args.map), "metric": localizer.map.metric},
            "config": config.model_dump(),
            "interrupted": interrupted or failure is not None,
            "images_without_camera": list(pairing.without_camera),
            "cameras_without_image": list(pairing.without_image),
            "view": None if args.view is None else str(args.view),
        }
        write_stats(args.json, queries, context)
    _tell_failures(queries)
    if args.view is not None:
        _write_view(args, localizer.map, queries)
    tell(
        f"{args.output}: {len(poses)} of {len(pairing.cameras)} images localized",
        args.output,
        args.json,
    )
    if failure is not None:
        raise failure
    if interrupted:
        raise KeyboardInterrupt
    return 0 if poses else 3


def _write_view(
    args: argparse.Namespace, reference_map: Map | TiledMap, queries: Sequence[LocalizedImage]
) -> None:
    from deviloc_ros.mapping.pages.view_page import write_view

    found = {query.name: query.estimate for query in queries if query.estimate is not None}
    poses = {name: estimate.camera_from_map for name, estimate in found.items()}
    covariances = {name: estimate.covariance for name, estimate in found.items()}
    write_view(args.view, reference_map, poses, covariances, args.map.name)
    tell(f"{args.view}: open it in a browser", args.view, args.output, args.json)


def _query_cameras(args: argparse.Namespace) -> QueryCameras:
    from deviloc_ros.offline.query_cameras import cameras_of_model, one_camera, read_cameras

    if args.camera is not None:
        return one_camera(args.camera)
    return read_cameras(args.cameras) if args.cameras else cameras_of_model(args.model)


def _tell_left_out(pairing: QueryPairing) -> None:
    for names, what in (
        (pairing.without_camera, "images have no camera and are left out"),
        (pairing.without_image, "cameras are of images that are not in the folder"),
    ):
        if names:
            print(f"deviloc: note: {len(names)} {what} ({names[0]}, ...)", file=sys.stderr)


def _tell_failures(queries: Sequence[LocalizedImage]) -> None:
    """Print why images have no pose, one line each, and which cameras were scaled."""
    from deviloc_ros.localization.types import LocalizationFailure

    if rescaled := [query.name for query in queries if query.rescaled]:
        print(
            f"deviloc: note: {len(rescaled)} images ({rescaled[0]}, ...) have another size than "
            "their camera, which was scaled to it",
            file=sys.stderr,
        )
    for query in queries:
        if isinstance(query.result, LocalizationFailure):
            print(f"deviloc: no pose: {query.name}: {query.result}", file=sys.stderr)


def _write_picture(folder: Path, images: Path, query: LocalizedImage) -> None:
    from deviloc_ros.evaluation.pictures import draw_matches, write_picture
    from deviloc_ros.images import read_gray

    try:
        image = read_gray(images / query.name)
    except InputError:
        return  # that it cannot be read is the image's result already
    path = folder / f"{query.name}.matches.jpg"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, draw_matches(image, query.camera, query.result))
    except (OSError, InputError) as error:  # such as a name that is too long
        print(f"deviloc: note: no picture of {query.name!r}: {error}", file=sys.stderr)
