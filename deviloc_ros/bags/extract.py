"""Images out of a bag, to make a map of: files, their camera, and where they were taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.bags.fixes import line_of, read_fixes
from deviloc_ros.bags.left_out import LeftOut
from deviloc_ros.bags.reader import Bag, Recorded, Topic
from deviloc_ros.bags.topics import fix_topic, image_topic, info_topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.trajectory import NANOSECONDS
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import write_image
from deviloc_ros.lock import sole_user
from deviloc_ros.messages.camera_info import camera_from_info
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.rectification import rectification
from deviloc_ros.messages.repeated_stamps import RepeatedStamps
from deviloc_ros.messages.stamped import frame_of
from deviloc_ros.robot.transform_buffer import TransformUnavailableError


@dataclass(frozen=True)
class ExtractOptions:
    """Which images.

    Attributes:
        topic: of the images; None: the only one there is.
        camera_info: its topic; None: beside the images.
        rectified: images are rectified; auto: the topic's name decides.
        distance: an image every so many metres, where the bag's transforms tell its place.
        turn: an image too where the camera has turned by so much, radians, if its place is known.
        every: an image every so many seconds elsewhere.
        odom_frame: frame of the places.
        fix: topic of satellite fixes; None: the only one, if there is one; empty: none.
    """

    topic: str | None = None
    camera_info: str | None = None
    rectified: Literal["auto", "yes", "no"] = "auto"
    distance: float = 0.5
    turn: float = math.inf
    every: float = 0.5
    odom_frame: str = "odom"
    fix: str | None = None


@dataclass(frozen=True)
class Extraction:
    """What was taken out.

    Attributes:
        camera: of all images.
        names: of the image files.
        poses: map_from_camera of images in the odometry frame, metres, z up, by name; only where
            they are known.
        left_out: images that could not be used.
        fixes: of a satellite receiver, as far as their places along the odometry are known.
        damage: what is wrong with the bag from some point on; empty: nothing.
    """

    camera: Camera
    names: tuple[str, ...]
    poses: dict[str, Transform]
    left_out: tuple[LeftOut, ...] = ()
    damage: str = ""
    fixes: tuple[PositionFix, ...] = ()

    @property
    def positions(self) -> dict[str, NDArray[np.float64]]:
        """Of the camera in the odometry frame (3,), by name; only where it is known."""
        return {name: pose.translation for name, pose in self.poses.items()}


def extract(
    bag: Bag,
    output: Path,
    options: ExtractOptions,
    progress: Callable[[], object] = lambda: None,
    tell: Callable[[str], object] = lambda text: None,
) -> Extraction:
    """Write `images/STAMP.png`, `camera.txt`, and what is known of places.

    That is `positions.txt` and `poses.txt` if there is odometry, and `fixes.txt` if there is a
    satellite receiver too.

    An image that cannot be used is passed over. Where the bag turns out to be damaged, what was
    taken until there is written.

    Args:
        bag: opened.
        output: folder, made if it does not exist.
        options: see there.
        progress: called for every image of the bag.
        tell: takes a line for people.

    Raises:
        InputError: topics are missing, no image is one of the camera's, nothing can be written, or
            another process extracts there.
    """
    topic = image_topic(bag, options.topic)
    satellites = fix_topic(bag, options.fix)
    camera, size = _camera(bag, topic, options, tell)
    target = output / "images"
    if target.exists():
        raise InputError(f"{target}: is there already; name a new folder by --output")
    # Images of a run that was interrupted must not be taken for all of them.
    folder = output / "images.unfinished"
    with sole_user(folder):
        for stale in folder.glob("*.png"):
            stale.unlink()
        found = _write_images(bag, topic, satellites, folder, options, camera, size, progress, tell)
        _write_text(output / "camera.txt", [str(camera)])
        if found.positions:
            lines = [f"{name} {x!r} {y!r} {z!r}" for name, (x, y, z) in _numbers(found.positions)]
            _write_text(output / "positions.txt", lines)
            _write_text(output / "poses.txt", [_line(*item) for item in found.poses.items()])
        if found.fixes:
            lines = [line_of(fix) for fix in found.fixes]
            _write_text(output / "fixes.txt", lines)
    folder.rename(target)
    return found


def _write_images(
    bag: Bag,
    topic: Topic,
    satellites: str | None,
    folder: Path,
    options: ExtractOptions,
    camera: Camera,
    size: tuple[int, int],
    progress: Callable[[], object],
    tell: Callable[[str], object],
) -> Extraction:
    transforms = BagTransforms(bag, tell=tell)
    names: list[str] = []
    poses: dict[str, Transform] = {}
    taken: dict[str, tuple[int, Transform]] = {}
    frame = ""
    left_out: list[LeftOut] = []
    damage = ""

    def refuse(recorded: Recorded, error: InputError) -> None:
        progress()
        left_out.append(LeftOut(topic.name, recorded.stamp, str(error)))

    last_stamp, last_received, last_pose = None, 0, None
    stamps = RepeatedStamps(topic.name, tell)
    messages = bag.read([topic.name], refuse)
    while True:
        try:
            recorded, message = next(messages)
            transforms.advance(recorded.stamp)
        except StopIteration:
            break
        except InputError as error:
            if not names:
                raise
            damage = str(error)
            break
        progress()
        stamp = stamp_of(message)
        pose = _pose(transforms, options.odom_frame, message.header.frame_id, stamp)
        if last_stamp is not None:
            if pose is not None and last_pose is not None:
                metres, degrees = pose.distance_to(last_pose)
                far = metres >= options.distance or math.radians(degrees) >= options.turn
            else:
                # A stamp that stands still says nothing of time; reception does.
                passed = stamp - last_stamp or recorded.stamp - last_received
                far = abs(passed) >= options.every * NANOSECONDS
            if not far:
                continue
        try:
            pixels = pixels_from_message(message)
            if (pixels.shape[1], pixels.shape[0]) != size:
                raise InputError(
                    f"the image is {pixels.shape[1]} x {pixels.shape[0]}, the camera_info says "
                    f"{size[0]} x {size[1]}"
                )
        except InputError as error:
            left_out.append(LeftOut(topic.name, stamp, str(error)))
            continue
        repeat = stamps.add(stamp)
        name = f"{stamp}_{repeat}.png" if repeat else f"{stamp}.png"
        write_image(folder / name, pixels)
        names.append(name)
        last_stamp, last_received, last_pose = stamp, recorded.stamp, pose
        if pose is not None:
            poses[name] = pose
            taken[name], frame = (stamp, pose), frame_of(message.header.frame_id)
    fixes: list[PositionFix] = []
    if satellites is not None and taken and not damage:
        fixes = read_fixes(bag, satellites, options.odom_frame, frame, taken, tell)
    elif satellites is not None:
        tell(f"{satellites} is not used: it is placed along the odometry of a whole bag")
    return Extraction(camera, tuple(names), poses, tuple(left_out), damage, tuple(fixes))


def _camera(
    bag: Bag, topic: Topic, options: ExtractOptions, tell: Callable[[str], object]
) -> tuple[Camera, tuple[int, int]]:
    """Return the camera of the first calibration, and the size of the first image that fits it.

    Raises:
        InputError: no calibration can be read, or no image is one of its camera.
    """
    advice = "choose with --camera-info"
    info_at = info_topic(bag, topic, options.camera_info, advice)
    _, info = bag.first(info_at.name)
    decided = rectification(options.rectified, topic.name, info)
    tell(f"{topic.name}: {decided}")
    bag.first(topic.name)
    errors: list[InputError] = []
    for _, message in bag.read([topic.name], lambda _, error: errors.append(error)):
        try:
            pixels = pixels_from_message(message)
            size = pixels.shape[1], pixels.shape[0]
            return camera_from_info(info, size, decided.rectified), size
        except InputError as error:
            errors.append(error)
    raise InputError(f"{bag.path}: none of {len(errors)} images can be used: {errors[0]}")


def _pose(transforms: BagTransforms, odom: str, frame: str, stamp: int) -> Transform | None:
    try:
        return transforms.lookup(odom, frame.lstrip("/"), stamp)
    except TransformUnavailableError:
        return None


def _numbers(
    positions: dict[str, NDArray[np.float64]],
) -> list[tuple[str, tuple[float, float, float]]]:
    return [(name, (float(x), float(y), float(z))) for name, (x, y, z) in positions.items()]


def _line(name: str, odom_from_camera: Transform) -> str:
    """Return a pose as pose files have it: world to camera, quaternion with w first."""
    pose = odom_from_camera.inverse()
    values = (*pose.quaternion_wxyz, *pose.translation)
    return f"{name} " + " ".join(repr(float(value)) for value in values)


def _write_text(path: Path, lines: list[str]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
