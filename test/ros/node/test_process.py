"""The node in a process of its own: how it begins, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from maps import CAMERA, write_random_map
from rclpy.task import Future
from robot import Robot, domain_id
from std_srvs.srv import Trigger

from deviloc_ros.geometry.transform import Transform

pytestmark = pytest.mark.ros


def start(*parameters: str, output: int | TextIO = subprocess.PIPE) -> subprocess.Popen[str]:
    arguments = [text for parameter in parameters for text in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-m", "deviloc_ros.ros.main", "--ros-args", *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id())},
        stdout=output,
        stderr=output,
        text=True,
        # A shell's background jobs ignore SIGINT, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        (["map.path:=nowhere.devmap", "autostart:=true"], "nowhere.devmap"),
        (["features.max_size:=3"], "features.max_size"),
        (["feature_size:=640"], "feature_size"),
    ],
)
def test_what_it_cannot_use_ends_it_with_code_2_and_one_line(
    parameters: list[str], named: str
) -> None:
    process = start(*parameters)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert named in errors
    assert "Traceback" not in errors
    lines = errors.strip().splitlines()
    assert len([line for line in lines if not line.startswith("[INFO]")]) == 1


@pytest.mark.parametrize("content", ["a: [1, 2", "/**:\n  ros__parameters:\n   x: 1\n  - y", None])
def test_a_parameters_file_that_is_none_is_named_in_one_line(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "robot.yaml"
    if content is not None:
        path.write_text(content)
    command = [sys.executable, "-m", "deviloc_ros.ros.main", "--ros-args", "--params-file", path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {path}: not a readable YAML file: ")


# Both only where the node has the most to give back: each test starts a node, which takes seconds.
SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Ending:
    """Starts the node, and tells it to end in the state that a test has brought it to."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def start(self, *parameters: str) -> None:
        with self.log.open("w") as output:
            self.process = start(*parameters, output=output)

    def said(self, words: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return words in self.log.read_text()

    def end(self, number: signal.Signals) -> str:
        """Send the signal, and return what the process said in its life."""
        begin = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=120)
        # No limit here, as a busy machine may be slow: benchmarks/load.py measures. Shown by -rP.
        print(f"{number.name}: ended after {time.monotonic() - begin:.2f} s")
        text = self.log.read_text()
        assert code == 0, text
        assert "Traceback" not in text
        return text


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[Ending]:
    result = Ending(tmp_path / "log")
    yield result
    result.process.kill()
    result.process.wait()


@pytest.fixture(scope="module")
def map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_map(tmp_path_factory.mktemp("map") / "random.devmap", 8, 1024)


@pytest.fixture(scope="module")
def slow_map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A map that takes seconds to load on any computer."""
    return write_random_map(tmp_path_factory.mktemp("map") / "slow.devmap", 60_000, 1, words=2)


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_end_it_while_it_starts(ending: Ending, number: signal.Signals) -> None:
    ending.start()
    deadline = time.monotonic() + 60
    # The libraries come after the handlers: so they are in place.
    while "libtorch" not in Path(f"/proc/{ending.process.pid}/maps").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.001)
    ending.end(number)


def test_signals_end_it_unconfigured(robot: Robot, ending: Ending) -> None:
    ending.start()
    robot.spin_until(lambda: bool(robot.diagnostics), seconds=120)
    assert robot.diagnostics[0].status[0].message == "unconfigured"
    ending.end(signal.SIGINT)


def test_signals_end_it_while_a_map_is_loaded(
    robot: Robot, ending: Ending, slow_map_path: Path
) -> None:
    ending.start(f"map.path:={slow_map_path}", "autostart:=true")
    robot.spin_until(lambda: ending.said("loading map"), seconds=120)
    assert "is loaded" not in ending.end(signal.SIGTERM)


def test_signals_end_it_while_a_service_loads_a_map(
    robot: Robot, ending: Ending, slow_map_path: Path
) -> None:
    ending.start(f"map.path:={slow_map_path}")
    change_state(robot, Transition.TRANSITION_CONFIGURE)
    robot.spin_until(lambda: ending.said("loading map"), seconds=120)
    assert "is loaded" not in ending.end(signal.SIGINT)


def test_signals_end_it_inactive(robot: Robot, ending: Ending, map_path: Path) -> None:
    ending.start(f"map.path:={map_path}", "matching.context:=never")
    answer = change_state(robot, Transition.TRANSITION_CONFIGURE)
    robot.spin_until(answer.done, seconds=120)
    assert answer.result().success
    ending.end(signal.SIGTERM)


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_end_it_active_and_under_load(
    robot: Robot, ending: Ending, map_path: Path, number: signal.Signals
) -> None:
    ending.start(
        f"map.path:={map_path}",
        "autostart:=true",
        "extrinsics.source:=parameters",
        "extrinsics.rotation:=[-0.5, 0.5, -0.5, 0.5]",
        "matching.context:=never",  # noise would go through it every time
    )
    robot.spin_until(lambda: ending.said("is loaded"), seconds=120)
    robot.send_info(CAMERA.width, CAMERA.height)
    noise = np.random.default_rng(0).integers(0, 256, CAMERA.width * CAMERA.height, np.uint8)
    size = {"width": CAMERA.width, "height": CAMERA.height, "step": CAMERA.width}

    def busy() -> bool:
        robot.send_image(0, stamp=time.time(), data=noise.tobytes(), **size)
        return len(robot.status) > 5

    robot.spin_until(busy, seconds=120)
    ending.end(number)


def test_signals_end_it_after_the_map_was_reloaded(
    robot: Robot, ending: Ending, map_path: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "last_pose.json"
    ending.start(f"map.path:={map_path}", "autostart:=true", f"prior.file:={saved}")
    robot.spin_until(lambda: ending.said("is loaded"), seconds=120)
    assert robot.call(Trigger, "reload_map").success
    robot.spin_until(lambda: ending.log.read_text().count("is loaded") == 2, seconds=120)
    robot.send_initial_pose("map", Transform.identity(), {0: 0.01, 7: 0.01, 35: 0.01})
    robot.spin_until(lambda: ("GUIDED", "initialpose in map") in robot.modes, seconds=60)
    # What the old map held goes with the last thread that used it.
    robot.spin(0.5)
    ending.end(signal.SIGTERM)
    assert saved.is_file()


def change_state(robot: Robot, transition: int) -> Future[ChangeState.Response]:
    """Ask the node for a transition, as a lifecycle manager does."""
    client = robot.peer.create_client(ChangeState, "/localization/change_state")
    robot.spin_until(client.service_is_ready, seconds=120)
    return client.call_async(ChangeState.Request(transition=Transition(id=transition)))
