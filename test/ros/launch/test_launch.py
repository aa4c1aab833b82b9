"""The launch files, with the real launch and launch_ros, real processes and real DDS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("launch_ros", reason="launch and launch_ros are not installed: no wheels")
import wall_map as wall
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from launched import ROOT, Launched, install
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from robot import LATCHED
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import MarkerArray

from deviloc_ros.bags import types
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.datasets.poses import write_tum
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.map import Map
from deviloc_ros.messages.stamped import transform_of
from deviloc_ros.ros.messages import stamp_message, transform_message

pytestmark = pytest.mark.ros

LAUNCH = ROOT / "launch"
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@pytest.fixture
def prefix(tmp_path: Path, context: Context) -> Path:
    return install(tmp_path)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """Parameters of a small and quick localizer whose camera needs no TF."""
    path = tmp_path / "params.yaml"
    path.write_text(
        "/**:\n  ros__parameters:\n    device: cpu\n"
        "    features: {max_size: 480, num_keypoints: 1024}\n"
    )
    return path


class Peer:
    """What is around the node: cameras, odometry, and ears."""

    def __init__(self, context: Context) -> None:
        self.node = Node("peer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)

    def listen(self, kind: type, topic: str, latched: bool = False) -> list:
        heard: list = []
        self.node.create_subscription(kind, topic, heard.append, LATCHED if latched else 100)
        return heard

    def hear(self, seconds: float) -> None:
        """Take in all that comes: one message a call would starve those who subscribed last."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.01)

    def until(
        self,
        condition: Callable[[], bool],
        launched: Launched,
        seconds: float = 240,
        heard: dict[str, dict[str, list]] | None = None,
    ) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{launched.output}\n{counts(heard or {})}"
            assert launched.process.poll() is None, launched.output
            self.executor.spin_once(timeout_sec=0.02)


@pytest.fixture
def peer(context: Context):
    result = Peer(context)
    yield result
    result.executor.shutdown()
    result.node.destroy_node()


@pytest.mark.parametrize("file", sorted(LAUNCH.glob("*.launch.py")), ids=lambda f: f.name)
def test_every_argument_is_described_and_every_file_says_how_to_use_it(file: Path) -> None:
    description = get_launch_description_from_python_launch_file(str(file))
    arguments = [a for a in description.entities if isinstance(a, DeclareLaunchArgument)]
    assert len(arguments) > 3
    for argument in arguments:
        assert len(argument.description) > 10, argument.name
        # A required argument would make including the file elsewhere awkward.
        assert argument.default_value is not None, argument.name
    text = file.read_text()
    assert f"ros2 launch deviloc_ros {file.name}" in text


def test_a_wrong_map_ends_the_node_with_one_line(prefix: Path) -> None:
    arguments = ["map:=nowhere.devmap", "namespace:=robot1", "image:=/front/image"]
    with Launched(prefix, LAUNCH / "localization.launch.py", *arguments) as launched:
        output = launched.wait()
    # The node has its parameters, tries to start by itself, and tells what is wrong with the map.
    assert "[robot1.localization]: nowhere.devmap" in output
    assert "exit code 2" in output


@pytest.mark.parametrize(
    ("file", "arguments", "words"),
    [
        ("localization", ["map:=x", "params_file:=odd.yaml"], "odd.yaml: there is no such file"),
        ("localization", ["map:=x", "display:=maybe"], "display"),
        ("rig", ["map:=x", "image:=image_raw"], "needs cameras:=NAME,NAME"),
        ("replay", ["bag:=nowhere"], "nowhere: there is no such bag"),
        ("mapping", ["map:=x"], "either images:=DIR or bag:=BAG"),
        ("mapping", ["map:=x.devmap", "images:=nowhere"], "ended with exit code 2"),
    ],
)
def test_wrong_arguments_are_told(
    prefix: Path, file: str, arguments: list[str], words: str
) -> None:
    with Launched(prefix, LAUNCH / f"{file}.launch.py", *arguments) as launched:
        output = launched.wait()
    assert words in output
    assert "[INFO] [localization_node" not in output


def test_two_robots_at_once_each_in_its_namespace(
    prefix: Path, params: Path, wall_map_path: Path, peer: Peer
) -> None:
    both = prefix / "both.launch.py"
    both.write_text(
        "from launch import LaunchDescription\n"
        "from launch.actions import IncludeLaunchDescription as Include\n"
        f"FILE = {str(LAUNCH / 'localization.launch.py')!r}\n"
        "def generate_launch_description():\n"
        "    return LaunchDescription([Include(FILE, launch_arguments={\n"
        f"        'map': {str(wall_map_path)!r}, 'params_file': {str(params)!r},\n"
        "        'namespace': name, 'image': 'front/image_raw', 'display': 'true',\n"
        "        'camera_info': 'front/camera_info', 'tf_in_namespace': 'true',\n"
        "    }.items()) for name in ('alice', 'bob')])\n"
    )
    places = {"alice": wall.map_from_base(-1.3), "bob": wall.map_from_base(2.1, yaw=5)}
    heard = {
        name: {
            "pose": peer.listen(PoseWithCovarianceStamped, f"/{name}/localization/pose"),
            "status": peer.listen(DiagnosticArray, f"/{name}/localization/status"),
            "tf": peer.listen(TFMessage, f"/{name}/tf"),
            "points": peer.listen(PointCloud2, f"/{name}/localization/map_points", latched=True),
            "references": peer.listen(
                MarkerArray, f"/{name}/localization/references", latched=True
            ),
            "path": peer.listen(PathMessage, f"/{name}/localization/path", latched=True),
        }
        for name in places
    }
    cameras = {
        name: (
            peer.node.create_publisher(Image, f"/{name}/front/image_raw", 1),
            peer.node.create_publisher(CameraInfo, f"/{name}/front/camera_info", 1),
        )
        for name in places
    }
    odometry = {}
    for name in places:
        static = peer.node.create_publisher(TFMessage, f"/{name}/tf_static", LATCHED)
        mount = transform_message("base_link", "camera", 0, wall.BASE_FROM_CAMERA)
        static.publish(TFMessage(transforms=[mount]))
        odometry[name] = peer.node.create_publisher(TFMessage, f"/{name}/tf", 10)
    views = {name: wall.view(place @ wall.BASE_FROM_CAMERA) for name, place in places.items()}

    def complete() -> bool:
        now = time.time_ns()
        for name, (images, infos) in cameras.items():
            standing = transform_message("odom", "base_link", now, Transform.identity())
            odometry[name].publish(TFMessage(transforms=[standing]))
            infos.publish(camera_info(stamp_message(now)))
            images.publish(image(stamp_message(now), views[name]))
        peer.hear(0.3)
        return all(messages for topics in heard.values() for messages in topics.values()) and all(
            map_from_odom(topics["tf"]) for topics in heard.values()
        )

    with Launched(prefix, both) as launched:
        peer.until(complete, launched, heard=heard)
        launched.interrupt()
    reference_map = Map.load(wall_map_path)
    for name, place in places.items():
        for message in heard[name]["pose"]:
            assert message.header.frame_id == "map"
            p = message.pose.pose.position
            np.testing.assert_allclose([p.x, p.y, p.z], place.translation, atol=0.1)
        for transform in map_from_odom(heard[name]["tf"]):
            # The robot stands where its odometry began.
            distance, angle = transform.distance_to(place)
            assert distance < 0.1
            assert angle < 1
        assert heard[name]["points"][0].width == len(reference_map.point_array)
        assert len(heard[name]["references"][0].markers[0].points) == 16 * len(
            reference_map.references
        )
        assert heard[name]["path"][-1].poses
    # All four processes ended well on Ctrl-C.
    assert launched.output.count("process has finished cleanly") == 4


def test_a_lifecycle_manager_can_drive_what_launch_started(
    prefix: Path, params: Path, wall_map_path: Path, peer: Peer
) -> None:
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    arguments = [f"map:={wall_map_path}", f"params_file:={params}", "autostart:=false"]
    change = peer.node.create_client(ChangeState, "/localization/change_state")
    state = peer.node.create_client(GetState, "/localization/get_state")
    with Launched(prefix, LAUNCH / "localization.launch.py", *arguments) as launched:
        peer.until(change.service_is_ready, launched)
        for transition, expected in (
            (Transition.TRANSITION_CONFIGURE, State.PRIMARY_STATE_INACTIVE),
            (Transition.TRANSITION_ACTIVATE, State.PRIMARY_STATE_ACTIVE),
            (Transition.TRANSITION_DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
            (Transition.TRANSITION_CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
        ):
            request = ChangeState.Request(transition=Transition(id=transition))
            changed = change.call_async(request)
            peer.until(changed.done, launched)
            assert changed.result().success
            now = state.call_async(GetState.Request())
            peer.until(now.done, launched)
            assert now.result().current_state.id == expected


def test_a_rig_is_localized_under_its_cameras_names(
    prefix: Path, params: Path, wall_map_path: Path, peer: Peer
) -> None:
    from scipy.spatial.transform import Rotation

    place = wall.map_from_base(0.4)
    mounts = {
        name: Transform(Rotation.from_euler("z", yaw, degrees=True), np.zeros(3))
        @ wall.BASE_FROM_CAMERA
        for name, yaw in (("port", 20), ("bow", 0), ("starboard", -20))
    }
    poses = peer.listen(PoseWithCovarianceStamped, "/localization/pose")
    static = peer.node.create_publisher(TFMessage, "/tf_static", LATCHED)
    static.publish(
        TFMessage(
            transforms=[
                transform_message("base_link", f"{name}_optical", 0, mount)
                for name, mount in mounts.items()
            ]
        )
    )
    views = {name: wall.view(place @ mount) for name, mount in mounts.items()}
    cameras = {
        name: (
            peer.node.create_publisher(Image, f"/{name}/image_raw", 1),
            peer.node.create_publisher(CameraInfo, f"/{name}/camera_info", 1),
        )
        for name in mounts
    }

    def localized() -> bool:
        stamp = stamp_message(time.time_ns())
        for name, (images, infos) in cameras.items():
            infos.publish(camera_info(stamp, f"{name}_optical"))
            images.publish(image(stamp, views[name], f"{name}_optical"))
        peer.hear(0.3)
        return bool(poses)

    arguments = [
        f"map:={wall_map_path}",
        f"params_file:={params}",
        "cameras:=port,bow,starboard",
        "image:=image_raw",
    ]
    with Launched(prefix, LAUNCH / "rig.launch.py", *arguments) as launched:
        peer.until(localized, launched)
    p = poses[0].pose.pose.position
    np.testing.assert_allclose([p.x, p.y, p.z], place.translation, atol=0.1)


@pytest.fixture
def bag(tmp_path: Path) -> tuple[Path, Path]:
    """Return a bag of a drive along the wall with odometry, and the file of its true poses."""
    truth = [(START + index * SECOND // 2, wall.map_from_base(-2 + index * 0.4)) for index in
             range(11)]  # fmt: skip
    odom_from_map = truth[0][1].inverse()
    with BagWriter(tmp_path / "bag") as writer:
        mount = types.tf(START, "base_link", "camera", wall.BASE_FROM_CAMERA)
        writer.write("/tf_static", START, mount, latched=True)
        for stamp, pose in truth:
            odometry = types.tf(stamp, "odom", "base_link", odom_from_map @ pose)
            writer.write("/tf", stamp, odometry)
            info = types.camera_info(stamp, "camera", wall.CAMERA)
            writer.write("/front/camera_info", stamp, info)
            pixels = wall.view(pose @ wall.BASE_FROM_CAMERA)
            writer.write("/front/image_raw", stamp, types.image(stamp, "camera", pixels))
    write_tum(tmp_path / "truth.txt", truth)
    return tmp_path / "bag", tmp_path / "truth.txt"


def test_replay_plays_localizes_evaluates_and_ends(
    prefix: Path, params: Path, wall_map_path: Path, bag: tuple[Path, Path]
) -> None:
    arguments = [
        f"map:={wall_map_path}",
        f"bag:={bag[0]}",
        f"truth:={bag[1]}",
        f"params_file:={params}",
        f"output:={prefix / 'result'}",
        "rate:=0.25",
        "silence:=5.0",
    ]
    with Launched(prefix, LAUNCH / "replay.launch.py", *arguments) as launched:
        output = launched.wait()
    summary = json.loads((prefix / "result" / "summary.json").read_text())
    # A busy machine may drop images; it must not lose all.
    assert summary["localized"] >= 3, output
    assert summary["errors"]["median_position_error_m"] < 0.1, output
    assert (
        len((prefix / "result" / "poses_tum.txt").read_text().splitlines())
        == (summary["localized"])
    )
    assert "replay is over" in output
    assert "Traceback" not in output


def test_mapping_makes_a_metric_map_of_a_bag(prefix: Path, bag: tuple[Path, Path]) -> None:
    arguments = [
        f"map:={prefix / 'new.devmap'}",
        f"bag:={bag[0]}",
        "distance:=0.7",
        "options:=--set features.max_size=480 --set features.num_keypoints=1024 --device cpu",
    ]
    with Launched(prefix, LAUNCH / "mapping.launch.py", *arguments) as launched:
        output = launched.wait()
    made = Map.load(prefix / "new.devmap")
    assert 3 <= len(made.references) <= 6, output
    assert made.metric
    assert made.gravity_aligned
    assert "by the odometry of" in output


def counts(heard: dict[str, dict[str, list]]) -> dict[str, dict[str, int]]:
    """Return how many messages came on each topic."""
    return {
        name: {topic: len(messages) for topic, messages in topics.items()}
        for name, topics in heard.items()
    }


def map_from_odom(messages: list[TFMessage]) -> list[Transform]:
    return [
        transform_of(item.transform)
        for message in messages
        for item in message.transforms
        if (item.header.frame_id, item.child_frame_id) == ("map", "odom")
    ]


def camera_info(stamp: object, frame: str = "camera") -> CameraInfo:
    fx, fy, cx, cy = wall.CAMERA.params
    info = CameraInfo(
        width=wall.CAMERA.width, height=wall.CAMERA.height, distortion_model="plumb_bob"
    )
    info.header.stamp = stamp
    info.header.frame_id = frame
    info.k = [fx, 0.0, cx - 0.5, 0.0, fy, cy - 0.5, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [fx, 0.0, cx - 0.5, 0.0, 0.0, fy, cy - 0.5, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.d = [0.0] * 5
    return info


def image(stamp: object, pixels: np.ndarray, frame: str = "camera") -> Image:
    message = Image(
        width=pixels.shape[1], height=pixels.shape[0], step=pixels.shape[1], encoding="mono8"
    )
    message.header.stamp = stamp
    message.header.frame_id = frame
    message.data = pixels.tobytes()
    return message


@pytest.mark.parametrize(
    ("given", "expected"), [([], True), (["use_sim_time:=False"], False)], ids=["file", "argument"]
)
def test_simulated_time_is_that_of_the_parameters_unless_it_is_given(
    prefix: Path, params: Path, peer: Peer, given: list[str], expected: bool
) -> None:
    text = params.read_text()
    params.write_text(
        text.replace("    device: cpu\n", "    device: cpu\n    use_sim_time: true\n")
    )
    arguments = [f"params_file:={params}", "autostart:=False", *given]
    client = peer.node.create_client(GetParameters, "/localization/get_parameters")
    with Launched(prefix, LAUNCH / "localization.launch.py", *arguments) as launched:
        peer.until(client.service_is_ready, launched)
        answer = client.call_async(GetParameters.Request(names=["use_sim_time", "autostart"]))
        peer.until(answer.done, launched)
    assert [value.bool_value for value in answer.result().values] == [expected, False]
