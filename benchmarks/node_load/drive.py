"""A robot that drives along known poses: a process that publishes images and odometry."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from types import TracebackType

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.ros.messages import stamp_message, transform_message
from node_load.traffic import image_message, info_message

# Of odometry, as wheels and an IMU give it.
ODOMETRY_RATE = 50.0


@dataclass(frozen=True)
class Drive:
    """What the robot sees and where it is.

    Attributes:
        images: (H, W) or (H, W, 3) uint8 each, one after the other, then back again.
        poses: map_from_base of each.
        camera: intrinsics of every camera.
        mounts: base_from_camera by the camera's name; all cameras show the same image.
        rate: images a second.
        domain: ROS domain.
    """

    images: Sequence[NDArray[np.uint8]]
    poses: Sequence[Transform]
    camera: Camera
    mounts: dict[str, Transform]
    rate: float
    domain: int


class DriveProcess:
    """Publishes a drive until the end of a block; a context manager.

    Odometry is exact: its frame is the map's.
    """

    def __init__(self, drive: Drive) -> None:
        """Say what to publish."""
        context = multiprocessing.get_context("spawn")
        self._stopping: Event = context.Event()
        self._process = context.Process(target=_publish, args=(drive, self._stopping))

    def __enter__(self) -> DriveProcess:
        """Begin to publish."""
        self._process.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop publishing."""
        self._stopping.set()
        self._process.join()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid


def _publish(drive: Drive, stopping: Event) -> None:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    context = Context()
    rclpy.init(context=context, domain_id=drive.domain)
    node = Node("drive", context=context)
    newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    image_topics = {n: node.create_publisher(Image, f"/{n}/image", newest) for n in drive.mounts}
    info_topics = {
        n: node.create_publisher(CameraInfo, f"/{n}/camera_info", 1) for n in drive.mounts
    }
    tf = node.create_publisher(TFMessage, "/tf", 100)
    static = node.create_publisher(TFMessage, "/tf_static", latched)
    static.publish(
        TFMessage(
            transforms=[
                transform_message("base_link", f"{name}_optical", 0, mount)
                for name, mount in drive.mounts.items()
            ]
        )
    )
    views = {
        name: [image_message(f"{name}_optical", image) for image in drive.images]
        for name in drive.mounts
    }
    infos = {name: info_message(f"{name}_optical", drive.camera) for name in drive.mounts}
    begin, step = time.time(), 0
    steps = max(round(ODOMETRY_RATE / drive.rate), 1)
    while not stopping.is_set():
        stamp = begin + step / (steps * drive.rate)
        time.sleep(max(stamp - time.time(), 0.0))
        count, part = divmod(step, steps)
        nanoseconds = round(stamp * 1e9)
        if part == 0:
            for name, info in infos.items():
                info.header.stamp = stamp_message(nanoseconds)
                info_topics[name].publish(info)
                view = views[name][there_and_back(count, len(drive.images))]
                view.header.stamp = stamp_message(nanoseconds)
                image_topics[name].publish(view)
        pose = _between(drive.poses, count, part / steps)
        # Odometry of an instant is published a step later, when the wheels have been read.
        tf.publish(
            TFMessage(transforms=[transform_message("odom", "base_link", nanoseconds, pose)])
        )
        step += 1
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def there_and_back(count: int, length: int) -> int:
    """Return the index of an image when a drive goes to its end and back, again and again."""
    if length == 1:
        return 0
    place = count % (2 * length - 2)
    return min(place, 2 * length - 2 - place)


def _between(poses: Sequence[Transform], count: int, share: float) -> Transform:
    """Return a pose between that of an image and the next."""
    here = poses[there_and_back(count, len(poses))]
    there = poses[there_and_back(count + 1, len(poses))]
    turn = (here.rotation.inv() * there.rotation).as_rotvec()
    rotation = here.rotation * type(here.rotation).from_rotvec(share * turn)
    return Transform(rotation, here.translation + share * (there.translation - here.translation))
