"""What RViz and Foxglove get: points, frustums and path, over real DDS."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import KeyValue
from geometry_msgs.msg import PoseWithCovarianceStamped
from maps import CAMERA, write_random_map
from nav_msgs.msg import Path as PathMessage
from rclpy.context import Context
from rclpy.parameter import Parameter
from robot import LATCHED, Robot
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from deviloc_ros.errors import InputError
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.ros.launch.arguments import SHOWN
from deviloc_ros.ros.messages import stamp_message
from deviloc_ros.ros.tools.map_display import PARAMETERS, MapDisplay, frustum

pytestmark = pytest.mark.ros


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    return write_random_map(tmp_path / "random.devmap", 5, 10)


def overrides(**values: object) -> list[Parameter[object]]:
    return [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]


@pytest.fixture
def display(robot: Robot, map_path: Path) -> Iterator[MapDisplay]:
    node = MapDisplay(
        context=robot.context,
        parameter_overrides=overrides(
            map__path=str(map_path), display__path_spacing=0.5, display__path_length=4
        ),
    )
    robot.executor.add_node(node)
    yield node
    node.destroy_node()


def heard(robot: Robot, kind: type, name: str) -> list:
    messages: list = []
    robot.peer.create_subscription(kind, f"/localization/{name}", messages.append, LATCHED)
    return messages


def test_who_comes_late_gets_the_map(robot: Robot, display: MapDisplay, map_path: Path) -> None:
    robot.spin(0.2)
    clouds = heard(robot, PointCloud2, "map_points")
    arrays = heard(robot, MarkerArray, "references")
    robot.spin_until(lambda: bool(clouds) and bool(arrays), seconds=60)
    reference_map = Map.load(map_path)
    cloud = clouds[0]
    assert cloud.header.frame_id == "map"
    assert [(field.name, field.offset) for field in cloud.fields] == [("x", 0), ("y", 4), ("z", 8)]
    points = np.frombuffer(cloud.data, "<f4").reshape(-1, 3)
    np.testing.assert_allclose(points, reference_map.points3d, atol=1e-4)
    (marker,) = arrays[0].markers
    assert marker.type == Marker.LINE_LIST
    assert marker.header.frame_id == "map"
    assert len(marker.points) == 16 * 5
    apex = reference_map.references[1].camera_from_map.inverse().translation
    np.testing.assert_allclose([getattr(marker.points[16], axis) for axis in "xyz"], apex)


def test_a_frustum_is_what_the_image_sees(map_path: Path) -> None:
    reference = Map.load(map_path).references[2]
    corners = frustum(reference, depth=2.0)
    in_camera = reference.camera_from_map.apply(corners[1:])
    np.testing.assert_allclose(in_camera[:, 2], 2.0)
    size = CAMERA.width, CAMERA.height
    np.testing.assert_allclose(
        CAMERA.project(in_camera), [(0, 0), (size[0], 0), size, (0, size[1])], atol=1e-6
    )


def test_of_many_points_some_are_shown(robot: Robot, map_path: Path) -> None:
    values = overrides(map__path=str(map_path), display__max_points=100, frames__map="world")
    node = MapDisplay(context=robot.context, parameter_overrides=values)
    clouds = heard(robot, PointCloud2, "map_points")
    robot.spin_until(lambda: bool(clouds), seconds=60)
    node.destroy_node()
    assert clouds[0].width == 100
    assert clouds[0].header.frame_id == "world"
    shown = np.frombuffer(clouds[0].data, "<f4").reshape(-1, 3)
    every = {tuple(point) for point in Map.load(map_path).points3d.astype("<f4").tolist()}
    assert {tuple(point) for point in shown.tolist()} <= every


def test_the_path_is_thinned_bounded_and_begins_anew_when_time_jumps_back(
    robot: Robot, display: MapDisplay
) -> None:
    poses = robot.peer.create_publisher(PoseWithCovarianceStamped, "/localization/pose", 10)
    robot.spin_until(lambda: poses.get_subscription_count() >= 2, seconds=60)
    paths = heard(robot, PathMessage, "path")

    def drive(stamp: int, x: float) -> None:
        message = PoseWithCovarianceStamped()
        message.header.frame_id = "map"
        message.header.stamp = stamp_message(stamp * 1_000_000_000)
        message.pose.pose.position.x = x
        poses.publish(message)

    def xs() -> list[float]:
        return [pose.pose.position.x for pose in paths[-1].poses] if paths else []

    for stamp, x in enumerate((0.0, 0.3, 0.6, 1.2, 1.3, 1.8, 2.4), start=10):
        drive(stamp, x)
    robot.spin_until(lambda: xs() == [0.6, 1.2, 1.8, 2.4], seconds=60)
    assert paths[-1].header.frame_id == "map"
    assert paths[-1].poses[0].header.stamp.sec == 12
    drive(5, 7.0)
    robot.spin_until(lambda: xs() == [7.0], seconds=60)


def test_it_shows_what_the_node_reloads(
    robot: Robot, display: MapDisplay, map_path: Path, tmp_path: Path
) -> None:
    other = write_random_map(tmp_path / "other.devmap", 3, 10)
    robot.add_node(map__path=str(map_path))
    assert robot.node is not None
    assert robot.node.start()
    clouds = heard(robot, PointCloud2, "map_points")
    arrays = heard(robot, MarkerArray, "references")
    told = heard(robot, KeyValue, "map_file")
    paths = heard(robot, PathMessage, "path")
    robot.spin_until(lambda: bool(clouds) and bool(arrays) and bool(told), seconds=60)
    robot.spin(0.3)
    # The same map is not sent again.
    assert len(clouds) == len(arrays) == 1
    assert (told[0].key, told[0].value) == (str(map_path), map_id(map_path))
    change = Parameter("map.path", value=str(other))
    assert robot.node.set_parameters([change])[0].successful
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: len(arrays) == 2 and bool(paths), seconds=60)
    assert len(arrays[1].markers[0].points) == 16 * 3
    assert len(clouds) == 2
    assert (told[-1].key, told[-1].value) == (str(other), map_id(other))
    assert paths[-1].header.frame_id == "map"
    assert not paths[-1].poses
    # The file changes on the disk, and only its content tells.
    write_random_map(other, 4, 10)
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: len(arrays) == 3, seconds=60)
    assert len(arrays[2].markers[0].points) == 16 * 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "map.path is empty"),
        ({"map__path": "nowhere.devmap"}, "nowhere.devmap"),
        ({"map__path": "x", "display__max_points": 0}, "display.max_points: must be above 0"),
    ],
)
def test_what_it_cannot_use_is_told(context: Context, values: dict, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        MapDisplay(context=context, parameter_overrides=overrides(**values))


def test_the_document_has_its_topics_and_parameters() -> None:
    text = (Path(__file__).resolve().parents[3] / "docs" / "ros-interface.md").read_text()
    for name, kind in SHOWN.items():
        assert f"`~/{name}` | `{kind}`" in text or f"`<name>/{name}` | `{kind}`" in text, name
    for name, (default, meaning) in PARAMETERS.items():
        assert f"| `{name}` | `{default}` | {meaning} |" in text, name
