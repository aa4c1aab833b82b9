"""What the launch files share: arguments with descriptions, nodes, and commands in a row."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.substitutions import ExecutableInPackage

from deviloc_ros.ros.launch.arguments import SHOWN, TRUE, Argument

Values = Mapping[str, str]
Remaps = Sequence[tuple[str, str]]

PACKAGE = "deviloc_ros"
DDS_PROFILE = "config/fastdds_shm.xml"


def share(name: str) -> str:
    """Return the path of an installed file, such as config/rig.yaml."""
    return str(Path(get_package_share_directory(PACKAGE)) / name)


def launch_file(
    arguments: Mapping[str, Argument], start: Callable[[dict[str, str]], Sequence[Action]]
) -> LaunchDescription:
    """Return the description of a launch file.

    Args:
        arguments: by name.
        start: returns what is to be started, given the arguments' values.
    """

    def perform(context: LaunchContext) -> list[Action]:
        return list(start({name: LaunchConfiguration(name).perform(context) for name in arguments}))

    declared = [
        DeclareLaunchArgument(
            name,
            default_value=argument.default,
            description=argument.description,
            **({"choices": list(argument.choices)} if argument.choices else {}),
        )
        for name, argument in arguments.items()
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=perform)])


def localization(
    values: Values,
    params_file: str,
    remaps: Remaps = (),
    parameters: Mapping[str, Any] | None = None,
) -> list[Action]:
    """Return the localization node, and what shows its results if that is wanted.

    Args:
        values: of NODE_ARGUMENTS.
        params_file: parameters where `params_file` is empty.
        remaps: of the node's input topics.
        parameters: that win over those of the file.
    """
    shown = is_true(values, "display") or is_true(values, "rviz")
    common = sim_time(values)
    if values["map"]:
        common["map.path"] = values["map"]
    own = {**(parameters or {}), **common, "autostart": is_true(values, "autostart")}
    if shown:
        # It is drawn only while somebody looks at it.
        own["debug.publish_image"] = True
    file = existing(values["params_file"] or params_file)
    node = LifecycleNode(
        package=PACKAGE,
        executable="localization_node",
        name=values["name"],
        parameters=[file, own],
        remappings=[*remaps, *tf_remaps(values)],
        **process_options(values),
    )
    display = Node(
        package=PACKAGE,
        executable="map_display",
        name=f"{values['name']}_display",
        parameters=[file, {**common, "localization": values["name"]}],
        remappings=tf_remaps(values),
        **process_options(values),
    )
    result = [node, *([display] if shown else [])]
    return [*result, rviz(values)] if is_true(values, "rviz") else result


def rviz(values: Values) -> Node:
    """Return RViz with the package's layout, on the topics of this robot."""
    topics = [(f"/localization/{topic}", f"{values['name']}/{topic}") for topic in SHOWN]
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", share("config/localization.rviz")],
        parameters=[given] if (given := sim_time(values)) else [],
        remappings=[*topics, ("/initialpose", "initialpose"), *tf_remaps(values)],
        **process_options(values),
    )


DDS_PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
"""Variables that name a Fast DDS profile; the second is Humble's."""


def own_dds_profile() -> str:
    """Return the package's profile, without which rigs lose images; empty if there is another."""
    return "" if any(os.environ.get(name) for name in DDS_PROFILES) else share(DDS_PROFILE)


def process_options(values: Values) -> dict[str, Any]:
    """Return what all nodes have in common."""
    environment = {}
    if values["dds_profile"]:
        profile = existing(values["dds_profile"])
        environment = dict.fromkeys(DDS_PROFILES, profile)
    return {
        "namespace": values["namespace"],
        "output": "screen",
        "additional_env": environment,
        "ros_arguments": ["--log-level", values["log_level"]],
    }


def tf_remaps(values: Values) -> Remaps:
    """Return how /tf and /tf_static become the robot's own, if they do."""
    own = is_true(values, "tf_in_namespace")
    return [("/tf", "tf"), ("/tf_static", "tf_static")] if own else []


def is_true(values: Values, name: str) -> bool:
    """Return the value of a switch."""
    return values[name] in TRUE


def sim_time(values: Values) -> dict[str, Any]:
    """Return the parameter where it was given: else a parameters file or SetParameter has it."""
    return {"use_sim_time": is_true(values, "use_sim_time")} if values["use_sim_time"] else {}


def end(reason: str) -> list[Action]:
    """Return what ends the whole launch, and says why."""
    return [LogInfo(msg=reason), EmitEvent(event=Shutdown(reason=reason))]


def existing(path: str) -> str:
    """Return a path that is a file.

    Raises:
        RuntimeError: it is not; launch prints the message.
    """
    if not Path(path).is_file():
        raise RuntimeError(f"{path}: there is no such file")
    return path


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
