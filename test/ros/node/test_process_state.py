"""What a signal leaves behind: the last pose is saved, and a map that is being loaded is let go."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from maps import write_random_map
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from robot import Robot
from std_srvs.srv import Trigger
from test_process import Ending

from deviloc_ros.geometry.transform import Transform

pytestmark = pytest.mark.ros


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[Ending]:
    result = Ending(tmp_path / "log")
    yield result
    result.process.kill()
    result.process.wait()


def test_the_last_pose_is_saved(robot: Robot, ending: Ending, tmp_path: Path) -> None:
    map_path = write_random_map(tmp_path / "random.devmap", 8, 1024)
    saved = tmp_path / "pose.json"
    ending.start(
        f"map.path:={map_path}",
        "autostart:=true",
        "matching.context:=never",
        f"prior.file:={saved}",
    )
    robot.spin_until(lambda: ("GLOBAL", "no pose yet") in robot.modes, seconds=120)
    here = Transform.from_quaternion((1.0, 0.0, 0.0, 0.0), (3.0, -2.0, 0.5))
    robot.send_initial_pose("map", here, {0: 0.25, 7: 0.25, 14: 0.25, 35: 0.07})
    robot.spin_until(lambda: robot.modes[-1][0] == "GUIDED", seconds=60)
    ending.end(signal.SIGTERM)
    content = json.loads(saved.read_text())
    np.testing.assert_allclose(content["position"], [3.0, -2.0, 0.5])
    assert content["position_sigma"] == pytest.approx(0.5)
    assert [path.name for path in tmp_path.glob("*pose*")] == ["pose.json"]


def test_signals_end_it_while_a_map_is_reloaded(
    robot: Robot, ending: Ending, tmp_path: Path
) -> None:
    map_path = write_random_map(tmp_path / "random.devmap", 8, 1024)
    slow = write_random_map(tmp_path / "slow.devmap", 60_000, 1, words=2)
    ending.start(f"map.path:={map_path}", "autostart:=true", "matching.context:=never")
    robot.spin_until(lambda: ("GLOBAL", "no pose yet") in robot.modes, seconds=120)
    client = robot.peer.create_client(SetParameters, "/localization/set_parameters")
    robot.spin_until(client.service_is_ready, seconds=60)
    value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=str(slow))
    request = SetParameters.Request(parameters=[Parameter(name="map.path", value=value)])
    answer = client.call_async(request)
    robot.spin_until(answer.done, seconds=60)
    assert answer.result().results[0].successful
    assert robot.call(Trigger, "reload_map").success
    assert "slow.devmap is loaded" not in ending.end(signal.SIGINT)
