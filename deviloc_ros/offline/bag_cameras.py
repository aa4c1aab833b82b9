"""Which topics of a bag are the cameras of the robot."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deviloc_ros.bags.reader import Bag, Topic
from deviloc_ros.bags.topics import IMAGE_TYPES, image_topic, info_topic
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.rectification import rectification
from deviloc_ros.offline.rig_file import CameraDescription
from deviloc_ros.robot.calibration import CameraCalibration, FixedCalibration, InfoCalibration
from deviloc_ros.robot.config import RobotConfig


@dataclass(frozen=True)
class CameraChoice:
    """What was said of the cameras, beside the configuration, which has their names.

    Attributes:
        topics: of images, by the camera's name; empty: those of `described`, else of the bag.
        described: cameras of rig.yaml.
        camera_info: topic of a single camera; None: beside the images.
        camera: intrinsics of a single camera that replace camera_info.
    """

    topics: Mapping[str, str] = field(default_factory=dict)
    described: Mapping[str, CameraDescription] = field(default_factory=dict)
    camera_info: str | None = None
    camera: Camera | None = None


@dataclass(frozen=True)
class BagCamera:
    """A camera of a robot, in a bag.

    Attributes:
        name: empty for a single camera.
        topic: of its images.
        info_topic: of its camera_info; None where `first_calibration` always holds.
        rectified: its images are.
        first_calibration: holds until a camera_info is received.
        mount: base_from_camera; None: transforms say it.
        decided: which calibration holds, and why, for people.
    """

    name: str
    topic: Topic
    info_topic: str | None
    rectified: bool
    first_calibration: CameraCalibration
    mount: Transform | None
    decided: str


def named_topics(texts: Sequence[str]) -> dict[str, str]:
    """Return topics by the camera's name from `NAME=TOPIC` or `TOPIC`.

    A single topic has no name; several are named after what tells them apart.

    Raises:
        InputError: some have a name and others have not, or two have the same.
    """
    pairs = [text.rpartition("=")[::2] for text in texts]
    topics = [topic for _, topic in pairs]
    names = [name for name, _ in pairs]
    if any(names) and not all(names):
        raise InputError(f"--topic {' '.join(texts)}: give NAME=TOPIC for all, or for none")
    if len(topics) > 1 and not any(names):
        names = _distinguishing(topics)
    for given in (names, topics):
        twice = [item for item in given if given.count(item) > 1]
        if twice:
            raise InputError(
                f"--topic {' '.join(texts)}: {twice[0]} comes twice; give NAME=TOPIC, each once"
            )
    return dict(zip(names, topics, strict=True))


def choose_cameras(bag: Bag, config: RobotConfig, choice: CameraChoice) -> list[BagCamera]:
    """Return the cameras that the configuration names, in its order.

    Raises:
        InputError: topics are missing, or there are several to choose from.
    """
    names = config.cameras
    unknown = [name for name in choice.topics if name not in names]
    if unknown:
        named = f"--topic {unknown[0]}=..." if unknown[0] else "--topic without a name"
        raise InputError(
            f"{named}: the cameras are {', '.join(names)}; give --topic NAME=TOPIC of these"
        )
    if len(names) > 1 and (choice.camera is not None or choice.camera_info is not None):
        raise InputError(
            "--camera and --camera-info are of a single camera; for a rig, give camera and "
            "camera_info of each in --rig FILE"
        )
    return [_camera(bag, config, choice, name) for name in names]


def _camera(bag: Bag, config: RobotConfig, choice: CameraChoice, name: str) -> BagCamera:
    described = choice.described.get(name)
    wanted = choice.topics.get(name) or (described.topic if described else None)
    if wanted is None and name:
        wanted = _topic_of(bag, name)
    topic = image_topic(bag, wanted)
    fixed, info, rectified = choice.camera, choice.camera_info, config.image.rectified
    if described is not None:
        fixed, info = fixed or described.camera, info or described.camera_info
        rectified = rectified if described.rectified == "auto" else described.rectified
    mount = described.mount if described is not None else None
    if fixed is not None:
        given = f"the camera that was given holds: {fixed}"
        return BagCamera(name, topic, None, False, FixedCalibration(fixed), mount, given)
    info_at = info_topic(bag, topic, info).name
    _, first = bag.first(info_at)
    decided = rectification(rectified, topic.name, first)
    calibration = InfoCalibration(first, decided.rectified)
    return BagCamera(name, topic, info_at, decided.rectified, calibration, mount, str(decided))


def _topic_of(bag: Bag, name: str) -> str:
    """Return the image topic that has a camera's name among its parts."""
    images = [t.name for t in bag.topics.values() if t.type in IMAGE_TYPES and t.count]
    own = [topic for topic in images if name in topic.split("/")]
    if len(own) != 1:
        listed = ", ".join(own or images) or "none"
        raise InputError(
            f"{bag.path}: camera {name} needs one image topic with /{name}/ in it; there are: "
            f"{listed}; choose with --topic {name}=TOPIC"
        )
    return own[0]


def _distinguishing(topics: Sequence[str]) -> list[str]:
    """Return names for topics: their parts without those that all share at both ends."""
    parts = [topic.strip("/").split("/") for topic in topics]
    shortest = min(len(item) for item in parts)
    begin = 0
    while begin < shortest and len({item[begin] for item in parts}) == 1:
        begin += 1
    end = 0
    while end < shortest - begin - 1 and len({item[-1 - end] for item in parts}) == 1:
        end += 1
    names = ["_".join(item[begin : len(item) - end]) or item[-1] for item in parts]
    clean = [re.sub(r"[^A-Za-z0-9_]", "_", name) for name in names]
    return [name if name[:1].isalpha() else f"camera_{name}" for name in clean]
