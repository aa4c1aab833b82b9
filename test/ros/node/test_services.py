"""Pause, reload, and what can be changed while the node works."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from maps import write_random_map
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future
from robot import FakeLocalizer, FakeMap, Robot
from std_srvs.srv import SetBool, Trigger
from traffic import Time, own, send_odometry

from deviloc_ros.config import LocalizerConfig, keys
from deviloc_ros.errors import InputError
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.ros.config.node_config import NodeConfig, dynamic_keys, why_fixed
from deviloc_ros.ros.node import session

pytestmark = pytest.mark.ros


def diagnosis(robot: Robot) -> tuple[int, str, dict[str, str]]:
    """Return level, message and values of the next /diagnostics."""
    robot.diagnostics.clear()
    robot.spin_until(lambda: bool(robot.diagnostics))
    status = robot.diagnostics[-1].status[0]
    return status.level[0], status.message, {item.key: item.value for item in status.values}


def test_pause_lets_no_images_in_and_keeps_the_transform_alive(robot: Robot) -> None:
    time = Time(robot, 100.0, diagnostics__period=0.1, diagnostics__max_latency=1.5, tf__rate=10.0)
    send_odometry(robot, 98.0, 100.0)
    robot.send_image(30, stamp=99.0)
    robot.spin_until(lambda: len(robot.poses) == 1)
    assert robot.call(SetBool, "pause", data=True).success
    robot.spin_until(lambda: robot.modes[-1] == ("PAUSED", "asked for by ~/pause"))
    robot.spin_until(lambda: robot.image_publisher.get_subscription_count() == 0)
    robot.send_image(30, stamp=99.1)
    before = len(own(robot))
    for tenth in range(1, 6):
        time.be(100 + tenth / 10)
    assert len(own(robot)) > before
    assert len(robot.poses) == 1
    level, text, values = diagnosis(robot)
    assert (level, text, values["mode"]) == (0, "paused", "PAUSED")
    assert robot.call(SetBool, "pause", data=True).success
    assert robot.call(SetBool, "pause", data=False).success
    robot.spin_until(lambda: robot.image_publisher.get_subscription_count() == 1)
    # What was known before is still of use.
    robot.spin_until(lambda: robot.modes[-1] == ("TRACKING", "localized"))
    robot.send_image(30, stamp=99.5)
    robot.spin_until(lambda: len(robot.poses) == 2)
    assert robot.localizer.priors[-1] is not None


def test_services_of_an_inactive_node_refuse(robot: Robot) -> None:
    node = robot.add_node()
    node.trigger_configure()
    assert not robot.call(Trigger, "relocalize").success
    response = robot.call(SetBool, "pause", data=True)
    assert (response.success, response.message) == (False, "the node is not active")


class Maps:
    """Loads maps by name: `slow` waits to be told, `broken` is refused, `other` differs."""

    def __init__(self, folder: Path) -> None:
        self.go = threading.Event()
        self.loaded: list[str] = []
        self.localizers: dict[str, FakeLocalizer] = {}
        for number, name in enumerate(("first", "slow", "other")):
            write_random_map(folder / name, 2 + number, 4, words=2)
        self.folder = folder

    def __call__(self, path: Path, config: LocalizerConfig) -> FakeLocalizer:
        if path.name == "broken":
            raise InputError(f"{path}: is damaged")
        if path.name == "slow":
            assert self.go.wait(20)
        self.loaded.append(path.name)
        localizer = FakeLocalizer()
        localizer.map = FakeMap()
        self.localizers[path.name] = localizer
        return localizer

    def start(self, robot: Robot, **parameters: Any) -> None:
        robot.start(load=self, map__path=str(self.folder / "first"), **parameters)

    def choose(self, robot: Robot, name: str) -> None:
        assert robot.node is not None
        change = Parameter("map.path", value=str(self.folder / name))
        assert robot.node.set_parameters([change])[0].successful


def test_the_old_map_serves_until_the_new_one_is_ready(robot: Robot, tmp_path: Path) -> None:
    maps = Maps(tmp_path)
    maps.start(robot, diagnostics__period=0.1)
    maps.choose(robot, "slow")
    response = robot.call(Trigger, "reload_map")
    assert response.success
    assert "slow" in response.message
    refused = robot.call(Trigger, "reload_map")
    assert not refused.success
    assert "wait" in refused.message
    robot.send_image(30, stamp=1.0)
    robot.spin_until(lambda: len(robot.poses) == 1)
    assert len(maps.localizers["first"].images) == 1
    assert diagnosis(robot)[2]["reload"].startswith("loading")
    maps.go.set()
    robot.spin_until(lambda: robot.modes[-1] == ("GLOBAL", f"map {tmp_path}/slow is new"))
    robot.send_image(40, stamp=2.0)
    robot.spin_until(lambda: len(robot.poses) == 2)
    assert len(maps.localizers["first"].images) == 1
    assert len(maps.localizers["slow"].images) == 1
    values = diagnosis(robot)[2]
    assert values["reload"].endswith("slow is in use")
    assert values["map"].startswith(f"{tmp_path}/slow (metric")


def test_a_broken_map_leaves_the_old_one_and_says_so(robot: Robot, tmp_path: Path) -> None:
    maps = Maps(tmp_path)
    maps.start(robot, diagnostics__period=0.1, diagnostics__excessive_latency=3600.0)
    maps.choose(robot, "broken")
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: "failed" in diagnosis(robot)[2]["reload"])
    level, text, values = diagnosis(robot)
    assert level == DiagnosticStatus.WARN[0]
    assert text == "the map could not be reloaded"
    assert values["reload"] == f"failed: {tmp_path}/broken: is damaged"
    assert values["map"].startswith(f"{tmp_path}/first ")
    robot.send_image(30, stamp=1.0)
    robot.spin_until(lambda: len(robot.poses) == 1)
    maps.choose(robot, "other")
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: "other is in use" in diagnosis(robot)[2]["reload"])


def test_the_same_map_again_keeps_what_is_known(robot: Robot, tmp_path: Path) -> None:
    maps = Maps(tmp_path)
    maps.start(robot, diagnostics__period=0.1)
    send_odometry(robot, 1.0, 2.0)
    robot.send_image(30, stamp=1.5)
    robot.spin_until(lambda: robot.modes[-1] == ("TRACKING", "localized"))
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: maps.loaded == ["first", "first"])
    robot.spin_until(lambda: "in use" in diagnosis(robot)[2]["reload"])
    assert robot.modes[-1] == ("TRACKING", "localized")


def test_an_image_in_hand_while_another_map_comes_is_dropped(robot: Robot, tmp_path: Path) -> None:
    maps = Maps(tmp_path)
    maps.start(robot, diagnostics__period=0.1)
    maps.localizers["first"].seconds = 1.0
    robot.send_image(30, stamp=1.0)
    robot.spin_until(lambda: len(maps.localizers["first"].images) == 1)
    maps.choose(robot, "other")
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: "other is in use" in diagnosis(robot)[2]["reload"])
    robot.spin_until(lambda: diagnosis(robot)[2]["frames_dropped"] == "1")
    values = diagnosis(robot)[2]
    assert (values["frames_received"], values["frames_localized"]) == ("1", "0")
    assert robot.poses == []


def test_a_map_that_is_written_over_is_refused_until_it_is_loaded_again(
    robot: Robot, tmp_path: Path
) -> None:
    path = write_random_map(tmp_path / "random.devmap", 3, 64, words=2)
    quick = {"matching__context": "never", "diagnostics__period": 0.1}
    robot.start(load=Localizer.load, map__path=str(path), **quick)
    robot.send_info(320, 240)
    noise = np.random.default_rng(0).integers(0, 256, 240 * 320, np.uint8).tobytes()

    def answer(stamp: float) -> str:
        before = len(robot.status)
        robot.send_image(0, stamp, width=320, height=240, step=320, data=noise)
        robot.spin_until(lambda: len(robot.status) > before)
        return robot.status[-1].status[0].message

    usual = answer(1.0)
    other = write_random_map(tmp_path / "other.devmap", 4, 64, words=2)
    shutil.copyfile(other, path)
    assert (answer(2.0), answer(3.0)) == ("DAMAGED_MAP", "DAMAGED_MAP")
    assert diagnosis(robot)[2]["damaged_map"] == "2"
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: diagnosis(robot)[2]["reload"].endswith("is in use"), 60)
    assert answer(4.0) == usual
    assert diagnosis(robot)[2]["damaged_map"] == "0"


def test_a_map_that_gives_no_transform_silences_the_one_before(
    robot: Robot, tmp_path: Path
) -> None:
    maps = Maps(tmp_path)
    time = Time(robot, 100.0, load=maps, map__path=str(tmp_path / "first"), tf__rate=10.0)
    send_odometry(robot, 98.0, 100.0)
    robot.send_image(30, stamp=99.0)
    robot.spin_until(lambda: ("map", "odom") in own(robot))
    maps.choose(robot, "other")
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: "other" in robot.modes[-1][1])
    robot.transforms.clear()
    for tenth in range(1, 6):
        time.be(100 + tenth / 10)
    assert own(robot) == []


def test_parameters_that_are_read_once_are_refused_with_the_reason(robot: Robot) -> None:
    robot.start()
    node = robot.node
    assert node is not None
    for name, value, reason in (
        ("tf.publish", "none", "a frame keeps its parent"),
        ("frames.base", "base", "it is read when the node is configured"),
        ("prior.restore", True, "it is read when the node becomes active"),
    ):
        result = node.set_parameters([Parameter(name, value=value)])[0]
        assert not result.successful
        assert reason in result.reason
        assert "clean up" in result.reason
    wrong = node.set_parameters([Parameter("tf.rate", value=-1.0)])[0]
    assert not wrong.successful


def test_the_period_of_diagnostics_can_be_changed(robot: Robot) -> None:
    robot.start(diagnostics__period=60.0)
    assert robot.node is not None
    robot.node.set_parameters([Parameter("diagnostics.period", value=0.05)])
    robot.diagnostics.clear()
    robot.spin_until(lambda: len(robot.diagnostics) >= 3)


def test_keys_that_can_be_changed_are_told_from_those_that_cannot() -> None:
    dynamic = set(dynamic_keys())
    assert {"tf.rate", "tf.planar", "verification.min_inliers", "map.path"} <= dynamic
    assert not {"tf.publish", "frames.map", "seed", "features.max_size", "device"} & dynamic
    for key in keys(NodeConfig):
        assert bool(why_fixed(key.name)) == (key.name not in dynamic)


def test_diagnostics_say_which_calibration_holds(robot: Robot) -> None:
    robot.start(diagnostics__period=0.1)
    told = "/image: K and D hold (not rectified): the name /image has no 'rect' as a word"
    robot.spin_until(lambda: diagnosis(robot)[2]["rectified"] == told)


def test_two_nodes_of_one_name_are_told(robot: Robot) -> None:
    robot.start(diagnostics__period=0.1)
    assert diagnosis(robot)[2]["namesakes"] == "0"
    other = Node("localization", context=robot.context)
    robot.spin_until(lambda: diagnosis(robot)[2]["namesakes"] == "1")
    other.destroy_node()


def test_hardware_and_idle_latency_say_something_that_tools_can_read(robot: Robot) -> None:
    robot.start(diagnostics__period=0.1)
    assert diagnosis(robot)[2]["latency_ms"] == ""
    assert robot.diagnostics[-1].status[0].hardware_id == "/localization"


def once(robot: Robot) -> Future[Trigger.Response]:
    """Ask for the next result."""
    client = robot.peer.create_client(Trigger, "/localization/localize_once")
    robot.spin_until(client.service_is_ready)
    answer = client.call_async(Trigger.Request())
    robot.spin(0.2)
    return answer


def test_localize_once_says_the_next_result(robot: Robot) -> None:
    robot.start()
    robot.send_image(20, stamp=1.0)
    robot.spin_until(lambda: len(robot.poses) == 1)
    answer = once(robot)
    assert not answer.done()
    robot.send_image(30, stamp=2.5)
    robot.spin_until(answer.done)
    assert answer.result().success
    assert answer.result().message == (
        "LOCALIZED: base_link in map at 2.500000000 s: x 3.000 y 2.000 z 0.000 m, "
        "heading 30.00 deg; 1 inliers"
    )
    robot.spin_until(lambda: len(robot.poses) == 2)
    answer = once(robot)
    robot.send_image(0, stamp=3.0)
    robot.spin_until(answer.done)
    assert (answer.result().success, answer.result().message) == (
        False,
        "TOO_FEW_INLIERS: 3 < 30",
    )


def test_localize_once_does_not_take_an_image_that_came_before(robot: Robot) -> None:
    robot.start()
    robot.localizer.seconds = 0.7
    robot.send_image(20, stamp=1.0)
    robot.spin_until(lambda: len(robot.localizer.images) == 1)
    answer = once(robot)
    robot.spin_until(lambda: len(robot.poses) == 1)
    robot.spin(0.2)
    assert not answer.done()
    robot.send_image(30, stamp=2.0)
    robot.spin_until(answer.done)
    assert "at 2.0" in answer.result().message


def test_localize_once_lets_an_image_in_while_paused(robot: Robot) -> None:
    robot.start()
    assert robot.call(SetBool, "pause", data=True).success
    robot.spin_until(lambda: robot.image_publisher.get_subscription_count() == 0)
    answer = once(robot)
    robot.spin_until(lambda: robot.image_publisher.get_subscription_count() == 1)
    robot.send_image(30, stamp=2.0)
    robot.spin_until(answer.done)
    assert answer.result().success
    robot.spin_until(lambda: robot.image_publisher.get_subscription_count() == 0)


def test_localize_once_without_an_image_ends_in_words(
    robot: Robot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ONCE_SECONDS", 0.5)
    robot.start()
    answer = once(robot)
    robot.spin_until(answer.done)
    assert answer.result().message == "no image came to a result within 0.5 s"
    answer = once(robot)
    assert robot.node is not None
    robot.node.trigger_deactivate()
    robot.spin_until(answer.done)
    assert answer.result().message == "the node is active no longer"


def test_the_last_pose_is_saved_every_few_seconds(robot: Robot, tmp_path: Path) -> None:
    """Power may go at any time."""
    maps = Maps(tmp_path)
    file = tmp_path / "pose.json"
    maps.start(robot, prior__file=str(file), prior__save_period=0.2)
    robot.send_image(30, stamp=1.0)
    robot.spin_until(file.exists)
    first = file.read_text()
    robot.spin(0.5)
    inode = file.stat().st_ino
    robot.spin(0.5)
    assert file.stat().st_ino == inode  # nothing new, nothing written
    robot.send_image(40, stamp=2.0)
    robot.spin_until(lambda: file.read_text() != first)
    assert json.loads(file.read_text())["position"][0] == pytest.approx(4.0)
