"""The cameras whose images are taken out of a bag: their topics, intrinsics and mounts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deviloc_ros.bags.reader import Bag, Topic
from deviloc_ros.bags.topics import image_topic, info_topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.mounted_camera import MountedCamera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.camera_info import camera_from_info
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.rectification import rectification
from deviloc_ros.messages.stamped import frame_of
from deviloc_ros.robot.config import Rectified
from deviloc_ros.robot.transform_buffer import TransformUnavailableError


@dataclass(frozen=True)
class CameraSource:
    """What is said of a camera.

    Attributes:
        name: its folder among the images; empty for a single camera.
        topic: of its images; None: the only one there is.
        camera_info: its topic; None: beside the images.
        camera: intrinsics that replace camera_info.
        rectified: images are rectified; auto: the topic's name decides.
        mount: base_from_camera; None: the bag's transforms tell it.
    """

    name: str = ""
    topic: str | None = None
    camera_info: str | None = None
    camera: Camera | None = None
    rectified: Rectified = "auto"
    mount: Transform | None = None


@dataclass(frozen=True)
class OpenedCamera:
    """A camera that was found in a bag.

    Attributes:
        source: what was said of it.
        topic: of its images.
        camera: intrinsics of images of this
        size: width and height.
        frame: its optical frame.
    """

    source: CameraSource
    topic: Topic
    camera: Camera
    size: tuple[int, int]
    frame: str


def open_camera(bag: Bag, source: CameraSource, tell: Callable[[str], object]) -> OpenedCamera:
    """Find a camera in a bag: its first calibration, and the first image that fits it.

    Raises:
        InputError: no calibration can be read, or no image is one of its camera.
    """
    topic = image_topic(bag, source.topic)
    calibration = _calibration(bag, topic, source, tell)
    bag.first(topic.name)
    errors: list[InputError] = []
    for _, message in bag.read([topic.name], lambda _, error: errors.append(error)):
        frame = frame_of(message.header.frame_id)
        try:
            pixels = pixels_from_message(message)
            size = pixels.shape[1], pixels.shape[0]
            return OpenedCamera(source, topic, calibration(size), size, frame)
        except InputError as error:
            errors.append(error)
    raise InputError(f"{bag.path}: none of {len(errors)} images can be used: {errors[0]}")


def _calibration(
    bag: Bag, topic: Topic, source: CameraSource, tell: Callable[[str], object]
) -> Callable[[tuple[int, int]], Camera]:
    """Return what gives the camera for images of a size."""
    given = source.camera
    if given is not None:
        return lambda size: given.fitted_to(*size)
    info_at = info_topic(bag, topic, source.camera_info, "choose with --camera-info")
    _, info = bag.first(info_at.name)
    decided = rectification(source.rectified, topic.name, info)
    tell(f"{topic.name}: {decided}")
    return lambda size: camera_from_info(info, size, decided.rectified)


def mounted(
    bag: Bag, cameras: Sequence[OpenedCamera], tell: Callable[[str], object]
) -> dict[str, MountedCamera]:
    """Return the cameras of a rig with their places, by name; the rig's frame is the first's.

    Raises:
        InputError: the place of a camera is not known.
    """
    first = cameras[0]
    found = {first.source.name: MountedCamera(first.camera, Transform.identity())}
    for camera in cameras[1:]:
        rig_from_camera = given_mount(first, camera)
        if rig_from_camera is None:
            rig_from_camera = _by_transforms(bag, first, camera, tell)
        found[camera.source.name] = MountedCamera(camera.camera, rig_from_camera.inverse())
    return found


def given_mount(first: OpenedCamera, camera: OpenedCamera) -> Transform | None:
    """Return first_from_camera where both mounts are given."""
    mounts = first.source.mount, camera.source.mount
    return None if mounts[0] is None or mounts[1] is None else mounts[0].inverse() @ mounts[1]


def _by_transforms(
    bag: Bag, first: OpenedCamera, camera: OpenedCamera, tell: Callable[[str], object]
) -> Transform:
    transforms = BagTransforms(bag, tell=tell)
    for recorded, message in bag.read([camera.topic.name], lambda *_: None):
        transforms.advance(recorded.stamp)
        try:
            return transforms.lookup(first.frame, camera.frame, stamp_of(message))
        except TransformUnavailableError:
            if not transforms.connected(first.frame, camera.frame):
                break
    raise InputError(
        f"{bag.path}: no transform joins {first.frame!r} with {camera.frame!r}, the frames of "
        f"{first.topic.name} and {camera.topic.name}; give their extrinsics in --rig FILE"
    )
