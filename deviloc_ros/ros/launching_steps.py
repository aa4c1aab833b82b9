"""Commands of `deviloc` one after the other, as actions of a launch file."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launch.action import Action
from launch.actions import ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch_ros.substitutions import ExecutableInPackage

from deviloc_ros.ros.launch.launching import PACKAGE, end

Step = Callable[[], Sequence[str]]
"""Returns the arguments of a command; it is asked when the step before is done."""


def run_steps(steps: Sequence[Step]) -> list[Action]:
    """Return the first step; each next one begins when one went well, and the launch ends then.

    A step that fails ends the launch, with its command and exit code as the reason.
    """
    arguments = [str(argument) for argument in steps[0]()]

    def follow(event: ProcessExited, context: LaunchContext) -> list[Action]:
        if event.returncode != 0:
            command = f"deviloc {' '.join(arguments)}"
            return end(f"{command}: ended with exit code {event.returncode}")
        return run_steps(steps[1:]) if len(steps) > 1 else end("done")

    process = ExecuteProcess(
        cmd=[ExecutableInPackage(package=PACKAGE, executable="deviloc"), *arguments],
        output="screen",
    )
    handler = OnProcessExit(target_action=process, on_exit=follow)
    return [RegisterEventHandler(handler), process]
