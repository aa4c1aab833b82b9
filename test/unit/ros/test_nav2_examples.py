"""docs/nav2.md: its files are those of examples/nav2, and mean what the page says."""

from __future__ import annotations

import ast
import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deviloc_ros.config import build
from deviloc_ros.messages.rectification import names_rectified
from deviloc_ros.ros.config.node_config import NodeConfig

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "examples" / "nav2"
PAGE = (ROOT / "docs" / "nav2.md").read_text(encoding="utf-8")
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())


def parameters(name: str) -> dict[str, Any]:
    """Return the parameters of a file's only node."""
    [node] = yaml.safe_load((FOLDER / name).read_text()).values()
    return node["ros__parameters"]


def assigned(name: str) -> Any:
    """Return a constant of the launch file, without launch."""
    for node in ast.parse((FOLDER / "camera.launch.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_page_shows_every_file_as_it_is(path: Path) -> None:
    blocks = re.findall(r"```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert path.read_text() in blocks
    assert f"(../examples/nav2/{path.name})" in PAGE


def test_the_nodes_parameters_are_parameters() -> None:
    config = build(NodeConfig, parameters("localization.yaml"), "localization.yaml")
    assert config.bond.enabled
    assert config.prior.restore


def test_one_of_node_and_filter_publishes_the_transform() -> None:
    config = build(NodeConfig, parameters("localization.yaml"), "localization.yaml")
    ekf = parameters("ekf.yaml")
    assert ekf["publish_tf"]
    assert config.tf.publish == "none"
    frames = (ekf["map_frame"], ekf["odom_frame"], ekf["base_link_frame"])
    assert frames == (config.frames.map, config.frames.odom, config.frames.base)
    assert ekf["world_frame"] == ekf["map_frame"]


def test_the_filter_takes_poses_that_are_late() -> None:
    ekf = parameters("ekf.yaml")
    assert ekf["smooth_lagged_data"] is True
    assert ekf["history_length"] > NodeConfig().diagnostics.excessive_latency
    assert ekf["pose0"] == "/localization/pose"
    assert not ekf["pose0_differential"]
    for name in ("pose0_config", "odom0_config"):
        assert len(ekf[name]) == 15
        assert all(isinstance(value, bool) for value in ekf[name])
    # Two absolute positions would fight: odometry gives velocities, we give poses.
    assert not any(ekf["odom0_config"][:6])
    assert not any(ekf["pose0_config"][6:])


def test_the_manager_drives_the_node_and_waits_for_its_bond() -> None:
    manager = parameters("lifecycle_manager.yaml")
    assert manager["node_names"] == ["localization"]
    assert manager["bond_timeout"] > 10 * NodeConfig().bond.heartbeat_period


def test_cameras_are_those_of_the_table() -> None:
    cameras = assigned("CAMERAS")
    for name, (image, info) in cameras.items():
        assert f"| `{image}` | `{info}` |" in PAGE
        # camera_info lies beside the image, as image_transport has it.
        assert info == f"{image.rpartition('/')[0]}/camera_info"
        assert names_rectified(image) == (name == "zed")


def test_the_launch_file_is_one() -> None:
    pytest.importorskip("launch_ros", reason="launch and launch_ros are not installed: no wheels")
    from launch.actions import DeclareLaunchArgument
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(FOLDER / "camera.launch.py"))
    arguments = [a.name for a in description.entities if isinstance(a, DeclareLaunchArgument)]
    assert arguments == ["camera", "map"]


def test_the_service_ends_the_node_as_it_likes_to_be_ended() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read_string((FOLDER / "deviloc.service").read_text())
    service = unit["Service"]
    assert service["KillSignal"] == "SIGINT"
    assert service["Restart"] == "on-failure"
    assert "exec ros2 launch" in service["ExecStart"]
    assert parameters("localization.yaml")["prior"]["file"].startswith(
        f"/var/lib/{service['StateDirectory']}/"
    )
