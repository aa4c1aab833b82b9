"""The node in a process of its own: how it begins, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from robot import Robot, domain_id

pytestmark = pytest.mark.ros


def start(*parameters: str) -> subprocess.Popen[str]:
    arguments = [text for parameter in parameters for text in ("-p", parameter)]
    return subprocess.Popen(
        [sys.executable, "-m", "deviloc_ros.ros.main", "--ros-args", *arguments],
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_cleanly(robot: Robot, number: signal.Signals) -> None:
    process = start()
    robot.spin_until(lambda: bool(robot.diagnostics), seconds=60)
    assert robot.diagnostics[0].status[0].message == "unconfigured"
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
