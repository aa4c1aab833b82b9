"""The launch file, with the real launch and launch_ros."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from robot import domain_id

pytestmark = pytest.mark.ros

ROOT = Path(__file__).resolve().parents[2]


def test_launch_file_starts_the_node_with_its_arguments(tmp_path: Path) -> None:
    pytest.importorskip("launch_ros", reason="launch and launch_ros are not installed: no wheels")
    share = tmp_path / "share"
    (share / "deviloc_ros").mkdir(parents=True)
    (share / "deviloc_ros" / "config").symlink_to(ROOT / "config")
    index = share / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "deviloc_ros").touch()
    executable = tmp_path / "lib" / "deviloc_ros" / "localization_node"
    executable.parent.mkdir(parents=True)
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m deviloc_ros.ros.main "$@"\n')
    executable.chmod(0o755)
    script = (
        "import sys\n"
        "from launch import LaunchService\n"
        "from launch.actions import IncludeLaunchDescription\n"
        "from launch import LaunchDescription\n"
        "service = LaunchService(argv=sys.argv[2:])\n"
        "service.include_launch_description(LaunchDescription([IncludeLaunchDescription(\n"
        "    sys.argv[1], launch_arguments=[t.split(':=') for t in sys.argv[2:]])]))\n"
        "sys.exit(service.run())\n"
    )
    arguments = ["map:=nowhere.devmap", "namespace:=robot1", "image:=/front/image"]
    process = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "launch" / "localization.launch.py"), *arguments],
        env={
            **os.environ,
            "AMENT_PREFIX_PATH": str(tmp_path),
            "ROS_DOMAIN_ID": str(domain_id()),
            "ROS_LOG_DIR": str(tmp_path),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # The node has its parameters, tries to start by itself, and tells what is wrong with the map.
    output = process.stdout + process.stderr
    assert "[robot1.localization]: nowhere.devmap" in output
    assert "exit code 2" in output
