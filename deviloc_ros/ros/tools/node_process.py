"""The node in a process of its own, for as long as a block lasts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


class NodeProcess:
    """Starts the node and ends it with SIGINT, as Ctrl-C would; use it as a context manager.

    ROS traffic stays on this machine.

    Attributes:
        exit_code: after the block; 0 is a clean end.
    """

    def __init__(
        self,
        parameters: Mapping[str, str],
        remaps: Mapping[str, str],
        log: Path,
        domain: int,
        parameters_file: Path | None = None,
    ) -> None:
        """Say what to start.

        Args:
            parameters: of the node, values as on a command line.
            remaps: topic of the node to topic.
            log: file for its output.
            domain: ROS domain id.
            parameters_file: parameters that those before replace.
        """
        self._command = [sys.executable, "-m", "deviloc_ros.ros.main", "--ros-args"]
        if parameters_file is not None:
            self._command += ["--params-file", str(parameters_file)]
        for name, value in parameters.items():
            self._command += ["-p", f"{name}:={value}"]
        for name, topic in remaps.items():
            self._command += ["-r", f"{name}:={topic}"]
        self._environment = os.environ | {
            "ROS_DOMAIN_ID": str(domain),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        }
        self._log = log
        self.exit_code: int | None = None

    def __enter__(self) -> NodeProcess:
        """Start it."""
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A shell's background job ignores SIGINT, and so would the node.
                preexec_fn=_listen_to_sigint,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Interrupt it and wait."""
        self._process.send_signal(signal.SIGINT)
        try:
            self.exit_code = self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.exit_code = self._process.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it ended by itself."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """Return the last line of its output."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"


def _listen_to_sigint() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
