"""The robot that a bag was recorded on: its cameras, where they sit, its odometry, its base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deviloc_ros.bags.odometry_topic import odometry_topic
from deviloc_ros.bags.reader import FIX_TYPE, INITIAL_POSE_TYPE, Bag
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import frame_of
from deviloc_ros.offline.bag_cameras import BagCamera, CameraChoice, choose_cameras
from deviloc_ros.robot.config import RobotConfig
from deviloc_ros.robot.extrinsics import fixed_extrinsics
from deviloc_ros.robot.transform_buffer import TransformUnavailableError

INITIAL_POSE, FIX = "/initialpose", "/fix"


@dataclass(frozen=True)
class BagRobot:
    """What is localized, and what is known of it.

    Attributes:
        bag: opened.
        config: of the robot; `frames.base` is the frame whose pose is reported.
        cameras: in the order of `config.cameras`.
        mounts: base_from_camera by name where transforms need not say it.
        odometry_topic: of nav_msgs/Odometry that takes the place of /tf; None: /tf, or nothing.
        odometry: where odometry comes from, or why there is none, for people.
        initial_pose: topic of poses that a person gave; None: there is none.
        fix: topic of satellite fixes, if they are asked for.
    """

    bag: Bag
    config: RobotConfig
    cameras: Sequence[BagCamera]
    mounts: Mapping[str, Transform]
    odometry_topic: str | None
    odometry: str
    initial_pose: str | None
    fix: str | None


def bag_robot(
    bag: Bag,
    config: RobotConfig,
    choice: CameraChoice | None = None,
    odometry: str | None = None,
    fix: str | None = None,
) -> BagRobot:
    """Find what the robot has in its bag, and that it is enough to localize it.

    Args:
        bag: opened.
        config: names cameras and frames.
        choice: what else was said of the cameras.
        odometry: topic of nav_msgs/Odometry to use; None: /tf, else the only one that fits.
        fix: topic of satellite fixes; None: /fix, else the only one.

    Raises:
        InputError: something is missing; the message says what to give.
    """
    cameras = choose_cameras(bag, config, choice or CameraChoice())
    mounts = fixed_extrinsics(config)
    mounts |= {item.name: item.mount for item in cameras if item.mount is not None}
    topic, text = odometry_topic(bag, config.frames.odom, odometry)
    # What is wrong with transforms is told when the bag is localized.
    transforms = BagTransforms(bag, topic, tell=lambda text: None)
    config = _with_base(bag, config, cameras, mounts, transforms)
    topics = bag.topics
    given = INITIAL_POSE in topics and topics[INITIAL_POSE].type == INITIAL_POSE_TYPE
    return BagRobot(
        bag,
        config,
        cameras,
        mounts,
        topic,
        text,
        INITIAL_POSE if given else None,
        _fix_topic(bag, fix) if config.gnss.enabled else None,
    )


def _with_base(
    bag: Bag,
    config: RobotConfig,
    cameras: Sequence[BagCamera],
    mounts: Mapping[str, Transform],
    transforms: BagTransforms,
) -> RobotConfig:
    """Return the configuration with the frame whose pose can be reported.

    Where nobody named one, and the bag does not join base_link with the only camera, the camera's
    own pose is reported.
    """
    frames = config.frames
    for item in cameras:
        if item.name in mounts:
            continue
        recorded, first = bag.first(item.topic.name)
        optical = frames.camera or frame_of(first.header.frame_id)
        transforms.advance(recorded.stamp)
        if not item.name:
            try:
                transforms.lookup(frames.base, optical, stamp_of(first))
            except TransformUnavailableError as error:
                if "base" in frames.model_fields_set:
                    raise InputError(
                        f"{bag.path}: --base {frames.base}: {error}; the camera's frame is "
                        f"{optical!r}"
                    ) from None
                frames = frames.model_copy(update={"base": optical})
        elif not transforms.connected(frames.base, optical):
            raise InputError(
                f"{bag.path}: no transform joins {frames.base!r} with {optical!r}, the frame of "
                f"camera {item.name} ({item.topic.name}); give its extrinsics in --rig FILE, or "
                "another --base"
            )
    return config.model_copy(update={"frames": frames})


def _fix_topic(bag: Bag, wanted: str | None) -> str:
    fixes = [t.name for t in bag.topics.values() if t.type == FIX_TYPE and t.count]
    choices = {f"/{wanted.lstrip('/')}"} if wanted is not None else {FIX}
    found = [name for name in fixes if name in choices]
    if wanted is None and not found:
        found = fixes
    if len(found) != 1:
        raise InputError(
            f"{bag.path}: gnss.enabled needs a topic of sensor_msgs/NavSatFix; there are: "
            f"{', '.join(fixes) or 'none'}; choose with --fix TOPIC"
        )
    return found[0]
