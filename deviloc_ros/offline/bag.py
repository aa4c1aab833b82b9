"""Localize every image of a bag, frame by frame, as the node does, without middleware."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from deviloc_ros.bags.reader import Bag, Recorded, Topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import (
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.messages.camera_info import camera_from_info, rectified_from_camera
from deviloc_ros.messages.image import Pixels, pixels_from_message
from deviloc_ros.offline.bag_results import BagRun, FrameResult
from deviloc_ros.robot.base_pose import base_pose
from deviloc_ros.robot.transform_buffer import TransformUnavailableError

BAD_CALIBRATION = "BAD_CALIBRATION"
NO_EXTRINSICS = "NO_EXTRINSICS"

Progress = Callable[[Iterable[tuple[Recorded, Any]], int], Iterable[tuple[Recorded, Any]]]
Watch = Callable[[FrameResult, Pixels, PoseEstimate | LocalizationFailure], None]


class ImageLocalizer(Protocol):
    """What is asked of `deviloc_ros.localization.Localizer`."""

    def localize(
        self, image: Pixels, camera: Camera, prior: PosePrior | None = None
    ) -> PoseEstimate | LocalizationFailure:
        """Return the pose of an image, or why there is none."""


@dataclass(frozen=True)
class BagOptions:
    """How a bag is read.

    Attributes:
        topic: of the images; None: the only one there is.
        camera_info: its topic; None: beside the images.
        camera: intrinsics that replace camera_info.
        rectified: images are rectified; None: if the topic's name has `rect` in it.
        base: the frame whose pose is reported; None: base_link where the bag's transforms join it
            with the camera, else the camera itself.
        map_frame: name of the map frame in the result.
        odom_frame: name of the bag's odometry frame.
    """

    topic: str | None = None
    camera_info: str | None = None
    camera: Camera | None = None
    rectified: bool | None = None
    base: str | None = None
    map_frame: str = "map"
    odom_frame: str = "odom"


def localize_bag(
    localizer: ImageLocalizer,
    map_path: Path,
    bag: Bag,
    options: BagOptions,
    progress: Progress = lambda items, total: items,
    watch: Watch = lambda result, pixels, localization: None,
) -> BagRun:
    """Localize every image of a topic; a Ctrl-C ends it early, with what was done.

    Args:
        localizer: gives the poses.
        map_path: named in the result.
        bag: opened.
        options: see `BagOptions`.
        progress: wraps the images to show how far it is, such as tqdm.
        watch: is shown every result.

    Raises:
        InputError: topics or frames are missing, or the bag is damaged.
    """
    topic = bag.image_topic(options.topic)
    calibration = _Calibration(bag, topic, options)
    transforms = BagTransforms(bag)
    images = bag.read([topic.name])
    first = next(images, None)
    if first is None:
        raise InputError(f"{bag.path}: {topic.name} has no messages")
    transforms.advance(first[0].stamp)
    body = _body(bag, transforms, options.base, first[1])
    frames: list[FrameResult] = []
    run = BagRun(
        map_path, bag.path, topic.name, body, options.map_frame, options.odom_frame, frames
    )
    try:
        for recorded, message in progress(_chain(first, images), topic.count):
            transforms.advance(recorded.stamp)
            stamp = stamp_of(message)
            frame = _Frame(message, stamp, recorded.stamp)
            frames.append(_localize(frame, localizer, calibration, transforms, run, watch))
    except KeyboardInterrupt:
        return BagRun(
            map_path, bag.path, topic.name, body, options.map_frame, options.odom_frame, frames,
            interrupted=True,
        )  # fmt: skip
    return run


@dataclass(frozen=True)
class _Frame:
    message: Any
    stamp: int
    received: int


def _localize(
    frame: _Frame,
    localizer: ImageLocalizer,
    calibration: _Calibration,
    transforms: BagTransforms,
    run: BagRun,
    watch: Watch,
) -> FrameResult:
    def refused(reason: str, error: Exception) -> FrameResult:
        return FrameResult(frame.stamp, frame.received, reason=reason, details=str(error))

    try:
        pixels = pixels_from_message(frame.message)
    except InputError as error:
        return refused(FailureReason.BAD_IMAGE.name, error)
    try:
        camera, optical_from_camera = calibration.at(frame.received, pixels)
    except InputError as error:
        return refused(BAD_CALIBRATION, error)
    optical = frame.message.header.frame_id.lstrip("/")
    try:
        body_from_optical = transforms.lookup(run.body, optical, frame.stamp)
    except TransformUnavailableError as error:
        return refused(NO_EXTRINSICS, error)
    found = localizer.localize(pixels, camera)
    if isinstance(found, LocalizationFailure):
        result = FrameResult(
            frame.stamp, frame.received, reason=found.reason.name, details=found.details,
            inliers=found.num_inliers, matches=found.num_matches,
            references=tuple(found.references), stage_seconds=dict(found.stage_seconds),
        )  # fmt: skip
    else:
        body = base_pose(
            found.map_from_camera, found.covariance, body_from_optical @ optical_from_camera
        )
        map_from_odom = None
        if run.odom_frame != run.body:
            try:
                odom_from_body = transforms.lookup(run.odom_frame, run.body, frame.stamp)
                map_from_odom = body.map_from_base @ odom_from_body.inverse()
            except TransformUnavailableError:
                pass  # A bag need not have odometry; the transform map -> body is written then.
        result = FrameResult(
            frame.stamp, frame.received, found.camera_from_map, body.map_from_base,
            body.covariance, map_from_odom, inliers=found.num_inliers,
            matches=len(found.correspondences), references=tuple(found.references),
            stage_seconds=dict(found.stage_seconds),
        )  # fmt: skip
    watch(result, pixels, found)
    return result


class _Calibration:
    """The camera of each image: the last camera_info received before it, or the first one."""

    def __init__(self, bag: Bag, topic: Topic, options: BagOptions) -> None:
        self._camera = options.camera
        rectified = options.rectified
        self._rectified = "rect" in topic.name if rectified is None else rectified
        if self._camera is None:
            self._infos = bag.read([bag.info_topic(topic, options.camera_info).name])
            first = next(self._infos, None)
            assert first is not None, "info_topic refuses topics without messages"
            self._info = first[1]
            self._next = next(self._infos, None)

    def at(self, received: int, pixels: Pixels) -> tuple[Camera, Transform]:
        """Return the camera and optical_from_camera (CameraInfo's R in rectified images).

        Raises:
            InputError: the calibration cannot be used, or is of another image size.
        """
        if self._camera is not None:
            return self._camera, Transform.identity()
        while self._next is not None and self._next[0].stamp <= received:
            self._info = self._next[1]
            self._next = next(self._infos, None)
        size = pixels.shape[1], pixels.shape[0]
        camera = camera_from_info(self._info, size, self._rectified)
        if not self._rectified:
            return camera, Transform.identity()
        return camera, rectified_from_camera(self._info).inverse()


def _body(bag: Bag, transforms: BagTransforms, wanted: str | None, first: Any) -> str:
    """Return the frame whose poses are reported.

    Raises:
        InputError: the wanted one is not joined with the camera.
    """
    optical = str(first.header.frame_id).lstrip("/")
    try:
        transforms.lookup(wanted or "base_link", optical, stamp_of(first))
    except TransformUnavailableError as error:
        if wanted is not None:
            raise InputError(
                f"{bag.path}: --base {wanted}: {error}; the camera's frame is {optical!r}"
            ) from None
        return optical
    return wanted or "base_link"


def _chain(
    first: tuple[Recorded, Any], rest: Iterator[tuple[Recorded, Any]]
) -> Iterator[tuple[Recorded, Any]]:
    yield first
    yield from rest
