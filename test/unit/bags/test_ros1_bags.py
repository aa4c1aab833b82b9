"""ROS 1 bags are read as they are: the same topics, stamps and messages as from rosbag2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag1 import Writer

from deviloc_ros.bags import types
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.ros1 import ROS1_TYPES
from deviloc_ros.bags.topics import image_topic, info_topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

START = 1_700_000_000_000_000_000
CAMERA = Camera("OPENCV", 8, 6, (5.0, 5.0, 4.0, 3.0, 0.1, 0.0, 0.0, 0.0))
ODOM_FROM_BASE = Transform.identity()


def recorded() -> list[tuple[str, str, int, Any, bool]]:
    """Return topic, type, stamp, message and whether it is latched."""
    turned = Transform(ODOM_FROM_BASE.rotation, np.array([1.0, 2.0, 0.0]))
    found: list[tuple[str, str, int, Any, bool]] = [
        ("/tf_static", "tf2_msgs/msg/TFMessage", START,
         types.tf(START, "base_link", "camera", turned), True)
    ]  # fmt: skip
    for index in range(3):
        stamp = START + index * 100_000_000
        gray = np.full((6, 8), 40 + index, np.uint8)
        found += [
            ("/tf", "tf2_msgs/msg/TFMessage", stamp,
             types.tf(stamp, "odom", "base_link", ODOM_FROM_BASE), False),
            ("/cam/camera_info", "sensor_msgs/msg/CameraInfo", stamp,
             types.camera_info(stamp, "camera", CAMERA), False),
            ("/cam/image_raw", "sensor_msgs/msg/Image", stamp,
             types.image(stamp, "camera", gray), False),
        ]  # fmt: skip
    return found


def test_the_definition_of_transforms_is_that_of_ros1() -> None:
    # As `rosmsg md5 tf2_msgs/TFMessage` prints it.
    [*_, digest] = ROS1_TYPES.generate_msgdef("tf2_msgs/msg/TFMessage", ros_version=1)
    assert digest == "94810edda583a504dfda3829e70d7eec"


def as_ros1(data: bytes | memoryview, kind: str) -> bytes:
    """Return the ROS 1 bytes of a CDR message; its header counts from 0."""
    return bytes(types.TYPESTORE.cdr_to_ros1(data, kind))


def write_ros1(path: Path, definition: str | None = None) -> Path:
    """Write a .bag; `definition` replaces that of sensor_msgs/Image."""
    with Writer(path) as writer:
        connections = {}
        for topic, kind, stamp, sent, latched in recorded():
            if topic not in connections:
                other = {"msgdef": definition, "md5sum": "0" * 32}
                replaced = other if definition and kind.endswith("/Image") else {}
                connections[topic] = writer.add_connection(
                    topic, kind, typestore=ROS1_TYPES, latching=int(latched), **replaced
                )
            data = types.TYPESTORE.serialize_cdr(sent, kind)
            writer.write(connections[topic], stamp, as_ros1(data, kind))
    return path


def write_ros2(path: Path) -> Path:
    with BagWriter(path) as writer:
        for topic, _, stamp, sent, latched in recorded():
            writer.write(topic, stamp, sent, latched=latched)
    return path


def test_a_ros1_bag_holds_what_the_same_drive_holds_as_rosbag2(tmp_path: Path) -> None:
    with Bag(write_ros1(tmp_path / "d.bag")) as old, Bag(write_ros2(tmp_path / "d")) as new:
        assert old.span == new.span
        assert set(old.topics) == set(new.topics)
        for name, topic in new.topics.items():
            assert (old.topics[name].type, old.topics[name].count) == (topic.type, topic.count)
        durable = {qos.durability for qos in old.topics["/tf_static"].qos}
        assert durable == {qos.durability for qos in new.topics["/tf_static"].qos}
        assert info_topic(old, image_topic(old)).name == "/cam/camera_info"
        for name in new.topics:
            assert [(i.stamp, i.data) for i in old.raw([name])] == [
                (i.stamp, i.data) for i in new.raw([name])
            ]
        transforms = BagTransforms(old, tell=pytest.fail)
        transforms.advance(START + 200_000_000)
        found = transforms.lookup("odom", "camera", START + 50_000_000)
        np.testing.assert_allclose(found.translation, [1, 2, 0])


def test_another_definition_of_a_type_is_told(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / "d.bag", definition="uint8[] data\n")
    with Bag(path) as bag:
        assert len(list(bag.read(["/tf"]))) == 3
        with pytest.raises(InputError, match="/cam/image_raw was recorded with another definition"):
            list(bag.read(["/cam/image_raw"]))


def test_a_damaged_message_is_passed_over_and_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = write_ros1(tmp_path / "d.bag")
    whole = path.read_bytes()
    at = whole.index(b"mono8")
    # The string before the pixels claims more characters than the message has.
    path.write_bytes(whole[: at - 4] + b"\xff\xff\xff\x7f" + whole[at:])
    refused: list[str] = []
    with Bag(path) as bag:
        read = list(bag.read(["/cam/image_raw"], lambda _, error: refused.append(str(error))))
    assert len(read) == 2
    assert len(refused) == 1
    assert "/cam/image_raw" in refused[0]
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"d\.bag: not a readable bag"):
        Bag(path)
