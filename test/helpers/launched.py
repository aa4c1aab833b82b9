"""The package as if installed, and launch files started from it by the real launch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from robot import domain_id

ROOT = Path(__file__).resolve().parents[2]
MODULES = {
    "localization_node": "deviloc_ros.ros.main",
    "map_display": "deviloc_ros.ros.tools.map_display",
    "pose_recorder": "deviloc_ros.ros.tools.pose_recorder",
    "deviloc": "deviloc_ros.cli.main",
}

# What `ros2 launch` does, without ros2cli.
SCRIPT = """\
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
# Without a terminal, which would pass Ctrl-C on to the processes, launch does so itself.
service = LaunchService(argv=sys.argv[2:], noninteractive=True)
description = LaunchDescription([
    IncludeLaunchDescription(sys.argv[1], launch_arguments=[t.split(":=", 1) for t in sys.argv[2:]])
])
service.include_launch_description(description)
sys.exit(service.run())
"""


def install(prefix: Path) -> Path:
    """Lay out share/ and lib/ as an installation has them, with links to this checkout."""
    share = prefix / "share" / "deviloc_ros"
    share.mkdir(parents=True)
    for name in ("config", "launch"):
        (share / name).symlink_to(ROOT / name)
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    (index / "deviloc_ros").touch()
    for name, module in MODULES.items():
        executable = prefix / "lib" / "deviloc_ros" / name
        executable.parent.mkdir(parents=True, exist_ok=True)
        executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {module} "$@"\n')
        executable.chmod(0o755)
    return prefix


class Launched:
    """A launch file that runs, until it ends by itself or the block does."""

    def __init__(self, prefix: Path, file: Path, *arguments: str) -> None:
        self.log = prefix / f"{file.stem}.log"
        command = [sys.executable, "-c", SCRIPT, str(file), *arguments]
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "AMENT_PREFIX_PATH": str(prefix),
                    "ROS_DOMAIN_ID": str(domain_id()),
                    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                    "ROS_LOG_DIR": str(prefix),
                },
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A shell's background job ignores SIGINT, and so would its children.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.interrupt()

    @property
    def output(self) -> str:
        return self.log.read_text()

    def interrupt(self) -> None:
        """Press Ctrl-C and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def wait(self, seconds: float = 300) -> str:
        """Wait until it ends by itself; return what it said."""
        self.process.wait(timeout=seconds)
        return self.output
