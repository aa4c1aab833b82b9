"""`deviloc robotcar`: Oxford RobotCar and RobotCar Seasons as bags."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from deviloc_ros.cli.arguments import AXES, Subparsers, add_command
from deviloc_ros.cli.robotcar_queries import add_queries, run_queries
from deviloc_ros.errors import InputError

if TYPE_CHECKING:
    from deviloc_ros.bags.chunks import Recording

CAMERAS = ("left", "rear", "right", "stereo_left", "stereo_centre", "stereo_right")
MAX_SECONDS = 1e9

DESCRIPTION = "Turn folders of Oxford RobotCar and of RobotCar Seasons into bags; list queries."

TO_BAG = """\
Write a sequence of Oxford RobotCar (images by time stamp, models, INS, RTK and VO) or a condition
of RobotCar Seasons as a rosbag2 of mcap files: images with camera_info, /tf_static, and where the
data has it /tf and /odom by visual odometry, /ground_truth/pose and /gps/fix. Images of a raw
sequence are undistorted by the data set's tables, unless --images raw.

The bag is written in chunks to BAG.part and appears when it is whole. The same command goes on
where an interrupted one stopped."""

TO_BAG_EXAMPLES = """\
  deviloc robotcar to-bag 2014-11-28-12-07-13/ --models sdk/models --extrinsics sdk/extrinsics \\
      --output drive
  deviloc robotcar to-bag 2014-11-28-12-07-13/ --output minute --start 60 --end 120 --images gray
  deviloc robotcar to-bag RobotCar-Seasons/ --condition night --up minus-z --output night"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command lines."""
    parser = add_command(
        subparsers,
        "robotcar",
        "Oxford RobotCar and RobotCar Seasons as bags and benchmarks",
        DESCRIPTION,
        "  deviloc robotcar to-bag --help\n  deviloc robotcar queries --help",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_queries(actions)
    to_bag = add_command(actions, "to-bag", "write a rosbag2", TO_BAG, TO_BAG_EXAMPLES)
    to_bag.add_argument(
        "folder", type=Path, metavar="FOLDER", help="of a raw sequence, or of RobotCar Seasons"
    )
    to_bag.add_argument("--output", type=Path, required=True, metavar="BAG", help="bag to write")
    to_bag.add_argument(
        "--cameras",
        default="left,rear,right",
        metavar="NAME,...",
        help=f"which cameras: {', '.join(CAMERAS)} (left,rear,right)",
    )
    to_bag.add_argument(
        "--images",
        choices=("rgb", "gray", "raw"),
        default="rgb",
        help="what is written: colour or gray, undistorted; or as stored: the raw mosaic with a "
        "fitted lens, of RobotCar Seasons the JPEG files themselves",
    )
    to_bag.add_argument(
        "--jpeg",
        type=int,
        metavar="QUALITY",
        help="compress images, quality 1 to 100; default: they are not, and bags are large",
    )
    to_bag.add_argument(
        "--start", type=float, default=0.0, metavar="S", help="seconds after the first image"
    )
    to_bag.add_argument(
        "--end", type=float, metavar="S", help="seconds after the first image; default: all"
    )
    to_bag.add_argument(
        "--chunk", type=int, default=600, metavar="N", help="images in each file of the bag (600)"
    )
    raw = to_bag.add_argument_group("raw sequences")
    raw.add_argument("--models", type=Path, metavar="DIR", help="camera models of the SDK")
    raw.add_argument("--extrinsics", type=Path, metavar="DIR", help="extrinsics of the SDK")
    raw.add_argument(
        "--truth",
        type=Path,
        metavar="FILE.csv",
        help="rtk.csv or ins.csv; default: rtk.csv in the sequence, else gps/ins.csv",
    )
    raw.add_argument(
        "--origin",
        type=float,
        nargs=3,
        metavar=("EAST", "NORTH", "UP"),
        help="of the map frame in UTM, metres; default: near the first true pose",
    )
    seasons = to_bag.add_argument_group("RobotCar Seasons")
    seasons.add_argument("--condition", metavar="NAME", help="such as night or overcast-summer")
    seasons.add_argument(
        "--up",
        choices=AXES,
        help="the data set's axis that points up (minus-z); true poses are turned to z up",
    )


def run(args: argparse.Namespace) -> int:
    """Run the action that was asked for."""
    return run_queries(args) if args.action == "queries" else _to_bag(args)


def _to_bag(args: argparse.Namespace) -> int:
    """Write the bag."""
    cameras = args.cameras.split(",")
    unknown = [name for name in cameras if name not in CAMERAS]
    if unknown or len(set(cameras)) < len(cameras):
        raise InputError(
            f"--cameras {args.cameras}: expected different ones of {', '.join(CAMERAS)}"
        )
    if args.chunk < 1:
        raise InputError(f"--chunk {args.chunk}: must be at least 1")
    end = math.inf if args.end is None else args.end
    if not 0 <= args.start < end or args.start > MAX_SECONDS:
        raise InputError(f"--start {args.start:g} --end {end:g}: no time between them")
    if args.jpeg is not None and (not 1 <= args.jpeg <= 100 or args.images == "raw"):
        raise InputError(f"--jpeg {args.jpeg}: is 1 to 100, and not for --images raw")
    if not args.folder.is_dir():
        raise InputError(f"{args.folder}: no such folder")
    if (args.folder / "intrinsics").is_dir() and (args.folder / "images").is_dir():
        recording, notes = _seasons(args, cameras)
    else:
        recording, notes = _raw(args, cameras)

    from tqdm import tqdm

    from deviloc_ros.bags.chunks import write_recording

    total = len(recording.image_stamps)
    with tqdm(total=total, desc="images", unit="image", disable=None) as bar:
        kept = write_recording(args.output, recording, args.chunk, bar.update)
    print(f"{args.output}: {total} images" + (f", {kept} of them kept from before" * bool(kept)))
    for note in notes:
        print(f"  {note}")
    return 0


def _raw(args: argparse.Namespace, cameras: list[str]) -> tuple[Recording, list[str]]:
    """Open a raw sequence; also return what to say about it."""
    if args.condition or args.up:
        raise InputError(f"{args.folder}: --condition and --up are for RobotCar Seasons")

    from deviloc_ros.robotcar.bag import RawOptions, RawRecording
    from deviloc_ros.robotcar.poses import read_absolute, read_fixes, read_odometry
    from deviloc_ros.robotcar.sensors import find_calibration
    from deviloc_ros.robotcar.sequence import RawSequence

    folders = find_calibration(args.folder, args.models, args.extrinsics)
    sequence = RawSequence(args.folder, folders, cameras)
    notes = [
        f"{camera.name}: {camera.num_missing} listed images have no file (chunks not downloaded?)"
        for camera in sequence.cameras.values()
        if camera.num_missing
    ]
    begin, end = _span(args, min(int(c.stamps[0]) for c in sequence.cameras.values()))
    vo = args.folder / "vo" / "vo.csv"
    odometry = read_odometry(vo) if vo.is_file() else None
    if odometry is None:
        notes.append(f"no odometry: there is no {vo}")
    elif odometry.gaps:
        notes.append(f"{vo}: {odometry.gaps} gaps, over which the odometry stands still")
    truth_file = args.truth or _truth_file(args.folder)
    truth = read_absolute(truth_file, sequence.vehicle_from_ins()) if truth_file else None
    origin = tuple(args.origin or (0.0, 0.0, 0.0))
    if truth is None:
        notes.append("no true poses: there is neither rtk.csv nor gps/ins.csv (--truth)")
    elif args.origin is None:
        origin = tuple(float(round(value)) for value in truth.positions[0])
    if truth is not None:
        notes.append(
            f"true poses by {truth_file}; the map's origin is at east, north, up "
            + " ".join(f"{value:.10g}" for value in origin)
        )
    gps = args.folder / "gps" / "gps.csv"
    fixes = read_fixes(gps) if gps.is_file() else ()
    options = RawOptions(args.images, begin, end, (origin[0], origin[1], origin[2]), args.jpeg)
    moving = odometry.trajectory if odometry is not None else None
    recording = RawRecording(sequence, options, moving, truth, fixes)
    _check_not_empty(args, recording)
    return recording, notes


def _seasons(args: argparse.Namespace, cameras: list[str]) -> tuple[Recording, list[str]]:
    """Open a condition of RobotCar Seasons; also return what to say about it."""
    from deviloc_ros.geometry.transform import Transform
    from deviloc_ros.mapping.map_frame import z_up_from
    from deviloc_ros.robotcar.seasons_bag import SeasonsRecording
    from deviloc_ros.robotcar.seasons_files import CAMERAS as OF_SEASONS
    from deviloc_ros.robotcar.seasons_files import TRAIN, Seasons

    seasons = Seasons(args.folder)
    if args.condition is None:
        raise InputError(f"--condition: name one of {', '.join(seasons.conditions)}")
    raw_only = [name for name in ("models", "extrinsics", "truth", "origin") if getattr(args, name)]
    if raw_only:
        raise InputError(f"{args.folder}: --{raw_only[0]} is for raw sequences only")
    strange = [name for name in cameras if name not in OF_SEASONS]
    if strange:
        raise InputError(f"--cameras {strange[0]}: RobotCar Seasons has {', '.join(OF_SEASONS)}")
    images = seasons.images(args.condition, cameras)
    begin, end = _span(args, images[0].stamp)
    images = [image for image in images if begin <= image.stamp < end]
    poses = seasons.true_poses(args.condition) if (args.folder / TRAIN).is_file() else {}
    known = len(poses.keys() & {image.stamp for image in images})
    turn = z_up_from(args.up or "z")
    map_from_world = Transform(turn.rotation, turn.translation)
    recording = SeasonsRecording(seasons, images, args.images, args.jpeg, map_from_world, poses)
    _check_not_empty(args, recording)
    return recording, [f"{known} moments have a public true pose ({TRAIN})"]


def _span(args: argparse.Namespace, first: int) -> tuple[int, int]:
    """Return the first stamp wanted and the first one not wanted, nanoseconds."""
    from deviloc_ros.geometry.trajectory import NANOSECONDS

    end = min(args.end if args.end is not None else MAX_SECONDS, MAX_SECONDS)

    return first + round(args.start * NANOSECONDS), first + round(end * NANOSECONDS)


def _truth_file(folder: Path) -> Path | None:
    for name in ("rtk.csv", "rtk/rtk.csv", "gps/rtk.csv", "gps/ins.csv"):
        if (folder / name).is_file():
            return folder / name
    return None


def _check_not_empty(args: argparse.Namespace, recording: Recording) -> None:
    if not len(recording.image_stamps):
        raise InputError(f"{args.folder}: holds no image between --start and --end")
