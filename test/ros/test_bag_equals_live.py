"""The same messages through `deviloc bag` and through the node: the same poses, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rclpy.context import Context
from rig_robot import FakeRigLocalizer, RigTopics
from rig_scene import VALUES, RigScene
from robot import Robot
from scipy.spatial.transform import Rotation, Slerp

from deviloc_ros.bags import types
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.cli.main import main
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.drive import odometry
from deviloc_ros.simulation.rig import RigCamera
from deviloc_ros.simulation.rig_drive import RigMoment

pytestmark = pytest.mark.ros

MS = 1_000_000
INSTANTS = 6
"""Of the evening's drive; enough for poses, refusals, and rear images that are missing."""
REAR_IS_LATE = 7 * MS
"""The rear camera's stamps against the others'."""


def drive_of(scene: RigScene) -> Sequence[RigMoment]:
    return scene.second[:INSTANTS]


def write_drive(path: Path, scene: RigScene, cameras: Sequence[RigCamera], with_tf: bool) -> None:
    """Write the evening's drive; the rear camera misses every third instant.

    Odometry comes at 20 Hz, never at the stamp of an image, and in part after it.
    """
    prefix = {item.name: f"/{item.name}" if len(cameras) > 1 else "" for item in cameras}
    begin = drive_of(scene)[0].stamp - 200 * MS
    with BagWriter(path) as writer:
        for item in cameras:
            info = types.camera_info(begin, item.optical_frame, item.camera)
            writer.write(f"{prefix[item.name]}/camera_info", begin, info)
            if with_tf:
                mount = types.tf(begin, "base_link", item.optical_frame, item.base_from_camera)
                writer.write("/tf_static", begin, mount, latched=True)
        if with_tf:
            for stamp, odom_from_base in wheel_odometry(scene, begin):
                sent = types.tf(stamp, "odom", "base_link", odom_from_base)
                writer.write("/tf", stamp + 30 * MS, sent)
        for number, moment in enumerate(drive_of(scene)):
            for item in cameras:
                late = item.name == "rear" and len(cameras) > 1
                if late and number % 3 == 1:
                    continue
                stamp = moment.stamp + late * REAR_IS_LATE
                image = types.image(stamp, item.optical_frame, moment.images[item.name])
                writer.write(f"{prefix[item.name]}/image", stamp + 5 * MS, image)


def wheel_odometry(scene: RigScene, begin: int) -> list[tuple[int, Transform]]:
    truth = [(moment.stamp, moment.map_from_base) for moment in drive_of(scene)]
    truth = [(begin - 50 * MS, truth[0][1]), *truth, (truth[-1][0] + 200 * MS, truth[-1][1])]
    measured = odometry(truth, np.random.default_rng(5))
    times = np.array([stamp - begin for stamp, _ in measured], float)
    turns = Slerp(times, Rotation.concatenate([pose.rotation for _, pose in measured]))
    places = np.array([pose.translation for _, pose in measured])
    result = []
    for stamp in range(begin - 37 * MS, measured[-1][0], 50 * MS):
        at = float(stamp - begin)
        place = np.array([np.interp(at, times, column) for column in places.T])
        result.append((stamp, Transform(turns(at), place)))
    return result


def play(bag: Path, robot: Robot, rig: RigTopics | None) -> None:
    """Send a bag's messages; the node takes its time for each instant, so that it drops none."""
    publishers: dict[str, Any] = {
        "/tf": robot.tf_publisher,
        "/tf_static": robot.static_publisher,
        "/image": robot.image_publisher,
        "/camera_info": robot.info_publisher,
    }
    if rig is not None:
        publishers |= {f"/{name}/image": item for name, item in rig.images.items()}
        publishers |= {f"/{name}/camera_info": item for name, item in rig.infos.items()}
    with Bag(bag) as opened:
        messages = list(opened.raw())
    images = [item for item in messages if item.topic.endswith("/image")]
    others = [item for item in messages if not item.topic.endswith("/image")]
    done = 0
    while images:
        instant = [item for item in images if item.stamp < images[0].stamp + 50 * MS]
        del images[: len(instant)]
        # What the node would wait for is there already.
        known = [item for item in others if item.stamp < instant[0].stamp + 100 * MS]
        del others[: len(known)]
        for item in known:
            publishers[item.topic].publish(item.data)
        robot.spin(0.2)
        for item in instant:
            publishers[item.topic].publish(item.data)
        done += 1
        robot.spin_until(lambda n=done: len(robot.status) == n, seconds=60)
    assert done == INSTANTS


def numbers(message: Any) -> tuple[float, ...]:
    """Return every number of a pose message."""
    stamp, p, q = message.header.stamp, message.pose.pose.position, message.pose.pose.orientation
    pose = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
    return (stamp.sec, stamp.nanosec, *pose, *(float(value) for value in message.pose.covariance))


# One camera without odometry is in test_live_equals_offline.py.
@pytest.mark.parametrize(
    ("count", "with_tf"),
    [(1, True), (3, False), (3, True)],
    ids=["one camera", "rig without odometry", "rig"],
)
def test_a_bag_gives_the_poses_of_the_node(
    context: Context, rig_scene: RigScene, tmp_path: Path, count: int, with_tf: bool
) -> None:
    cameras = rig_scene.rig[:count]
    write_drive(tmp_path / "drive", rig_scene, cameras, with_tf)
    parameters: dict[str, Any] = {**VALUES, "sync.timeout": 2.0}
    if not with_tf:
        mounts = [item.base_from_camera for item in cameras]
        parameters |= {
            "extrinsics.source": "parameters",
            "extrinsics.translation": [v for m in mounts for v in m.translation.tolist()],
            "extrinsics.rotation": [v for m in mounts for v in m.quaternion_xyzw.tolist()],
        }
    names = {"cameras": [item.name for item in cameras]} if count > 1 else {}
    # The node's own parameter file says what the bag's robot is.
    file = tmp_path / "node.yaml"
    values = {**parameters, **names, "tf.publish": "map_to_odom"}
    file.write_text(yaml.safe_dump({"/**": {"ros__parameters": values}}))
    arguments = ["--rig", str(file), "--output", str(tmp_path / "result")]
    assert main(["bag", str(rig_scene.map_path), str(tmp_path / "drive"), *arguments]) == 0

    robot = Robot(context, FakeRigLocalizer())
    try:
        from deviloc_ros.localization import Localizer

        given = {name.replace(".", "__"): value for name, value in parameters.items()}
        given |= {"map__path": str(rig_scene.map_path), "image__reliability": "reliable"}
        rig = None
        if count > 1:
            rig = RigTopics(robot, {item.name: item.camera for item in cameras})
            rig.start(load=Localizer.load, **given)
        else:
            robot.start(calibrate=False, extrinsics=False, load=Localizer.load, **given)
        play(tmp_path / "drive", robot, rig)
        live = [numbers(message) for message in robot.poses]
        told = [message.status[0].message for message in robot.status]
    finally:
        robot.close()
    with Bag(tmp_path / "result" / "poses") as bag:
        offline = [numbers(message) for _, message in bag.read(["/localization/pose"])]
    assert live == offline
    assert len(live) >= INSTANTS // 3
    frames = json.loads((tmp_path / "result" / "summary.json").read_text())["frames"]
    assert told == [frame.get("reason", "LOCALIZED") for frame in frames]
    searches = {frame["search"] for frame in frames}
    assert "TRACKING" in searches if with_tf else searches == {"GLOBAL"}
    if count > 1:
        assert frames[1]["cameras"]["rear"] == "no image"
