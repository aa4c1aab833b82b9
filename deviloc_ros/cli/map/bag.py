"""--bag of `deviloc map build` and `extend`: images of a drive, their camera, its odometry."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deviloc_ros.cli.arguments import note
from deviloc_ros.cli.map.bag_options import extract_options, uses_bag

if TYPE_CHECKING:
    from deviloc_ros.bags.extraction.extract import ExtractOptions
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.geometry.mounted_camera import MountedCamera
    from deviloc_ros.geometry.position_fix import PositionFix
    from deviloc_ros.geometry.transform import Transform
    from deviloc_ros.mapping.drive.frame import DriveFrame


@dataclass(frozen=True)
class TakenImages:
    """Images that were taken out of a bag.

    Attributes:
        folder: of the image files.
        camera: of all of them; None: those of a rig.
        rig: cameras and their places by the name of the folder of their images; empty: no rig.
        odometry: camera_from_odometry by name, where it is known.
        fixes: of a satellite receiver, along the odometry.
        choice: how many images there were, and why others were not taken (written.py).
    """

    folder: Path
    camera: Camera | None
    rig: Mapping[str, MountedCamera]
    odometry: Mapping[str, Transform]
    fixes: Sequence[PositionFix]
    choice: Mapping[str, Any]

    @property
    def cameras(self) -> dict[str, Camera]:
        """The camera of each image, by its name below the folder."""
        from deviloc_ros.datasets.image_folder import list_images

        names = list_images(self.folder)
        if self.camera is not None:
            return dict.fromkeys(names, self.camera)
        return {name: self.rig[name.partition("/")[0]].camera for name in names}

    @property
    def text(self) -> str:
        """How many images there were and were taken, in a line."""
        blurred = len(self.choice["blurred"])
        text = f"{self.choice['taken']} of {self.choice['images']} images of the bag were taken"
        text += f", {blurred} of them blurred" if blurred else ""
        damage = self.choice["damage"]
        return f"{text}; {damage}" if damage else text

    def remove(self, keep: bool) -> None:
        """Delete the images: the map is written."""
        if not keep:
            shutil.rmtree(self.folder.parent)


def take_images(args: argparse.Namespace) -> TakenImages | None:
    """Take the images out of the bag, unless that was done before; None: no bag is given.

    They go to MAP.images, which an interrupted build leaves.

    Raises:
        InputError: the bag cannot be used, or options do not go together.
    """
    if not uses_bag(args):
        return None
    from deviloc_ros.bags.extraction.written import read_rig
    from deviloc_ros.datasets.fixes import read_fixes
    from deviloc_ros.datasets.poses import read_poses
    from deviloc_ros.geometry.camera import Camera

    options = extract_options(args)
    folder = args.output.with_name(f"{args.output.name}.images")
    source, stamp = folder / "source.json", _source(args.bag, asdict(options))
    if not (folder / "images").exists() or not source.exists() or source.read_text() != stamp:
        shutil.rmtree(folder / "images", ignore_errors=True)
        _extract(args.bag, folder, options)
        source.write_text(stamp)
    poses, places, rig = (folder / name for name in ("poses.txt", "fixes.txt", "rig.json"))
    one = folder / "camera.txt"
    return TakenImages(
        folder / "images",
        Camera.parse(one.read_text(encoding="utf-8").strip()) if one.exists() else None,
        read_rig(rig) if rig.exists() else {},
        read_poses(poses) if poses.exists() and not args.no_odometry else {},
        read_fixes(places) if places.exists() and not args.no_fixes else [],
        json.loads((folder / "choice.json").read_text(encoding="utf-8")),
    )


def _extract(bag_path: Path, folder: Path, options: ExtractOptions) -> None:
    """Write the images into the folder, and tell what became of them."""
    from tqdm import tqdm

    from deviloc_ros.bags.extraction.extract import extract
    from deviloc_ros.bags.reader import Bag
    from deviloc_ros.bags.topics import image_topic

    with Bag(bag_path) as bag:
        total = image_topic(bag, options.cameras[0].topic).count
        with tqdm(total=total, unit="image", desc="bag", disable=None) as bar:
            taken = extract(bag, folder, options, bar.update, note)
    for item in taken.left_out[:3]:
        note(f"left out: {item}")
    if len(taken.left_out) > 3:
        note(f"left out: {len(taken.left_out) - 3} more images")
    for reason, count in sorted(taken.passed.items()):
        note(f"of {taken.total} images passed over, as each {reason}: {count}")
    blurred = sum(item.blurred for item in taken.chosen.values())
    if blurred:
        note(f"{blurred} of {len(taken.chosen)} images that were taken are blurred")
    if taken.damage:
        note(f"{taken.damage}; the map is made of what came before")


def drive_text(drive: DriveFrame | None) -> list[str]:
    """Return in lines how the map lies in the frame of its drive, and how far odometry drifted."""
    if drive is None:
        return ["the bag's odometry is not known or not used: the map is not metric"]
    lines = [
        f"metric, z up, by the odometry of {drive.num_odometry} images; it drifted against the map "
        f"by {np.median(drive.drift):.3f} m (median), {np.max(drive.drift):.3f} m (most); a metre "
        f"of it is {drive.odometry_scale:.4f} m"
    ]
    if drive.origin is not None:
        latitude, longitude, altitude = drive.origin
        lines.append(
            f"x east, y north; origin latitude {latitude:.7f}, longitude {longitude:.7f}, altitude "
            f"{altitude:.2f}; {drive.num_fixes} fixes are {drive.fix_error:.2f} m off in the plane "
            f"(rms), {drive.num_left_out} were left out as wrong"
        )
    if drive.note:
        lines.append(f"the frame is that of odometry: {drive.note}")
    return lines


def _source(bag: Path, options: dict[str, Any]) -> str:
    try:
        newest = max(path.stat().st_mtime_ns for path in (bag, *bag.glob("*")))
    except OSError:
        newest = 0  # opening it says what is wrong
    return json.dumps([str(bag.resolve()), newest, options], sort_keys=True, default=str)
