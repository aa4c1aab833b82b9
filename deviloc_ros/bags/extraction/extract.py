"""Images out of a bag, to make a map of: files, their cameras, and where they were taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.bags.extraction.fixes import read_fixes
from deviloc_ros.bags.extraction.frame_choice import (
    ChoiceOptions,
    Chosen,
    Frame,
    FrameChoice,
    Moment,
)
from deviloc_ros.bags.extraction.rig_images import write_rig_images
from deviloc_ros.bags.extraction.sources import CameraSource, OpenedCamera, mounted, open_camera
from deviloc_ros.bags.extraction.written import write_texts
from deviloc_ros.bags.left_out import LeftOut
from deviloc_ros.bags.odometry_topic import odometry_topic
from deviloc_ros.bags.reader import Bag, Recorded
from deviloc_ros.bags.topics import fix_topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.mounted_camera import MountedCamera
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import write_image
from deviloc_ros.lock import sole_user
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.repeated_stamps import RepeatedStamps
from deviloc_ros.messages.stamped import frame_of
from deviloc_ros.robot.transform_buffer import TransformUnavailableError


@dataclass(frozen=True)
class ExtractOptions:
    """Which images.

    Attributes:
        cameras: one, or those of a rig; the images of a rig's first camera are chosen, and those of
            the others are of the same instants.
        choice: which images of the drive.
        odom_frame: frame of the places.
        odometry: topic of nav_msgs/Odometry; None: /tf, else the only one in that frame.
        base: frame that mounts of cameras are given in; None: the child frame of the odometry
            topic, else base_link.
        fix: topic of satellite fixes; None: the only one, if there is one; empty: none.
        tolerance: stamps of one instant of a rig differ by no more, seconds.
    """

    cameras: tuple[CameraSource, ...] = (CameraSource(),)
    choice: ChoiceOptions = field(default_factory=ChoiceOptions)
    odom_frame: str = "odom"
    odometry: str | None = None
    base: str | None = None
    fix: str | None = None
    tolerance: float = 0.02


@dataclass(frozen=True)
class Extraction:
    """What was taken out.

    Attributes:
        camera: of all images; of a rig, of the first camera's.
        rig: cameras and their places by the name of the folder of their images; empty: no rig.
        names: of the image files.
        poses: odom_from_camera of images (of a rig: of the first camera's), metres, z up, by name;
            only where they are known.
        total: how many images of the (first) camera there were.
        chosen: how those that were taken were chosen, by name.
        passed: how many others were passed over, by the reason.
        left_out: images that could not be used.
        fixes: of a satellite receiver, as far as their places along the odometry are known.
        damage: what is wrong with the bag from some point on; empty: nothing.
    """

    camera: Camera
    names: tuple[str, ...]
    poses: dict[str, Transform]
    rig: Mapping[str, MountedCamera] = field(default_factory=dict)
    total: int = 0
    chosen: Mapping[str, Chosen] = field(default_factory=dict)
    passed: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    fixes: tuple[PositionFix, ...] = ()
    damage: str = ""

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
    """Write `images/STAMP.png`, and files with the camera and what is known of places.

    The files are those of `written.py`. Images of a rig lie in a folder for each camera, those of
    one instant under one name. An image that cannot be used is passed over. Where the bag turns out
    to be damaged, what was taken until there is written.

    Args:
        bag: opened.
        output: folder, made if it does not exist.
        options: see there.
        progress: called for every image of the (first) camera.
        tell: takes a line for people.

    Raises:
        InputError: topics are missing, no image is one of the camera's, nothing can be written, or
            another process extracts there.
    """
    cameras = [open_camera(bag, source, tell) for source in options.cameras]
    satellites = fix_topic(bag, options.fix)
    moving, text = odometry_topic(bag, options.odom_frame, options.odometry)
    if moving is not None or options.odometry is not None:
        tell(f"odometry: {text}")
    rig = mounted(bag, cameras, tell) if len(cameras) > 1 else {}
    target = output / "images"
    if target.exists():
        raise InputError(f"{target}: is there already; name a new folder by --output")
    # Images of a run that was interrupted must not be taken for all of them.
    folder = output / "images.unfinished"
    with sole_user(folder):
        for stale in folder.rglob("*.png"):
            stale.unlink()
        writer = _Writer(bag, cameras[0], moving, folder, options, tell)
        found = writer.run(progress, satellites)
        if len(cameras) > 1 and writer.stamps:
            found = replace(found, rig=rig)
            more = write_rig_images(
                bag, cameras, rig, writer.stamps, folder, options.tolerance, tell
            )
            tell(f"images of one instant are up to {1e3 * more.apart:.1f} ms apart")
            found = replace(
                found,
                names=(*found.names, *more.names),
                left_out=(*found.left_out, *more.left_out),
            )
        write_texts(output, found)
    folder.rename(target)
    return found


class _Writer:
    """Chooses and writes the images of one camera."""

    def __init__(
        self,
        bag: Bag,
        camera: OpenedCamera,
        odometry: str | None,
        folder: Path,
        options: ExtractOptions,
        tell: Callable[[str], object],
    ) -> None:
        self._bag, self._camera, self._folder = bag, camera, folder
        self._options, self._tell, self._odometry = options, tell, odometry
        self._transforms = BagTransforms(bag, odometry, tell=tell)
        self._base = options.base or _base_of(bag, odometry)
        self._repeated = RepeatedStamps(camera.topic.name, tell)
        self._chosen: dict[str, Chosen] = {}
        self.stamps: dict[int, str] = {}

    def run(self, progress: Callable[[], object], satellites: str | None) -> Extraction:
        """Write the images; return all that is known of them."""
        topic, prefix = self._camera.topic.name, self._camera.source.name
        if prefix:
            (self._folder / prefix).mkdir(exist_ok=True)
        left_out: list[LeftOut] = []
        damage, total = "", 0

        def refuse(recorded: Recorded, error: InputError) -> None:
            nonlocal total
            total += 1
            progress()
            left_out.append(LeftOut(topic, recorded.stamp, str(error)))

        choice = FrameChoice(self._options.choice)
        messages = self._bag.read([topic], refuse)
        while True:
            try:
                recorded, message = next(messages)
                self._transforms.advance(recorded.stamp)
            except StopIteration:
                break
            except InputError as error:
                if not self._chosen:
                    raise
                damage = str(error)
                break
            progress()
            total += 1
            moment = Moment(stamp_of(message), recorded.stamp, self._pose(message))
            if not choice.wants(moment):
                continue
            try:
                pixels = pixels_from_message(message)
                self._check_size(pixels)
            except InputError as error:
                left_out.append(LeftOut(topic, moment.stamp, str(error)))
                continue
            for item in choice.offer(Frame(moment, pixels)):
                self._write(item)
        for item in choice.finish():
            self._write(item)
        moments = {name: item.frame.moment for name, item in self._chosen.items()}
        poses = {name: item.pose for name, item in moments.items() if item.pose is not None}
        fixes: list[PositionFix] = []
        if satellites is not None and poses and not damage:
            taken = {name: (moments[name].stamp, pose) for name, pose in poses.items()}
            fixes = read_fixes(
                self._bag, satellites, self._odometry, self._options.odom_frame,
                self._camera.frame, taken, self._tell,
            )  # fmt: skip
        elif satellites is not None:
            self._tell(f"{satellites} is not used: it is placed along the odometry of a whole bag")
        return Extraction(
            camera=self._camera.camera,
            names=tuple(self._chosen),
            poses=poses,
            total=total,
            chosen=self._chosen,
            passed=dict(choice.passed),
            left_out=tuple(left_out),
            fixes=tuple(fixes),
            damage=damage,
        )

    def _write(self, item: Chosen) -> None:
        stamp = item.frame.moment.stamp
        repeat = self._repeated.add(stamp)
        own = f"{stamp}_{repeat}.png" if repeat else f"{stamp}.png"
        prefix = self._camera.source.name
        name = f"{prefix}/{own}" if prefix else own
        write_image(self._folder / name, item.frame.pixels)
        no_pixels = np.zeros((0, 0), np.uint8)  # they are on disk
        self._chosen[name] = replace(item, frame=Frame(item.frame.moment, no_pixels))
        self.stamps.setdefault(stamp, own)

    def _check_size(self, pixels: NDArray[np.uint8]) -> None:
        size = self._camera.size
        if (pixels.shape[1], pixels.shape[0]) != size:
            told = "camera is of" if self._camera.source.camera is not None else "camera_info says"
            raise InputError(
                f"the image is {pixels.shape[1]} x {pixels.shape[0]}, the {told} "
                f"{size[0]} x {size[1]}"
            )

    def _pose(self, message: Any) -> Transform | None:
        """Return odom_from_camera at the stamp of an image, if it is known."""
        odom, mount = self._options.odom_frame, self._camera.source.mount
        frame = frame_of(message.header.frame_id) if mount is None else self._base
        try:
            pose = self._transforms.lookup(odom, frame, stamp_of(message))
        except TransformUnavailableError:
            return None
        return pose if mount is None else pose @ mount


def _base_of(bag: Bag, odometry: str | None) -> str:
    """Return the frame that odometry tells the place of."""
    if odometry is None:
        return "base_link"
    return frame_of(bag.first(odometry)[1].child_frame_id)
