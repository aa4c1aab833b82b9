"""The parts of a replay: the node, a player of the bag, and a recorder that ends it all."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import get_package_prefix
from launch.action import Action
from launch.actions import ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from deviloc_ros.ros.launch.arguments import NODE_ARGUMENTS, Argument
from deviloc_ros.ros.launch.launching import (
    DDS_PROFILE,
    PACKAGE,
    Values,
    end,
    localization,
    process_options,
    share,
)

REPLAY_ARGUMENTS = {
    **{
        name: argument
        for name, argument in NODE_ARGUMENTS.items()
        if name not in ("use_sim_time", "autostart", "tf_in_namespace", "dds_profile")
    },
    "bag": Argument("", "rosbag2: folder, or .mcap or .db3 file"),
    "output": Argument("", "folder for poses_tum.txt and summary.json"),
    "truth": Argument("", "true poses of the base in the map frame, lines 'stamp tx ty tz qx ...'"),
    "truth_topic": Argument(
        "/ground_truth/pose", "where truth is empty: PoseStamped of the base in the map frame"
    ),
    "rate": Argument("1.0", "bag seconds per second"),
    "silence": Argument("10.0", "end when the bag is over and the node silent for so long, s"),
    "dds_profile": Argument("", "Fast DDS profile; empty: config/fastdds_shm.xml of this package"),
}


def sources(values: Values, cameras: Sequence[str], image: str, camera_info: str) -> Sources:
    """Have `deviloc play --sources` look into the bag, in an interpreter that can read one.

    `ros2 launch` runs in ROS' own Python, which need not have this package's requirements.

    Args:
        values: of REPLAY_ARGUMENTS.
        cameras: names of a rig's cameras; empty for a single one.
        image: its topic, of a rig that below each name; empty: the only one there is.
        camera_info: its topic; empty: beside the images.

    Raises:
        RuntimeError: the bag or a topic is missing; launch prints the message.
    """
    command = [
        str(Path(get_package_prefix(PACKAGE)) / "lib" / PACKAGE / "deviloc"),
        "play", values["bag"], "--sources", "--cameras", *cameras,
        "--image", image, "--camera-info", camera_info,
    ]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(ended.stderr.strip() or f"{' '.join(command)}: failed")
    found = json.loads(ended.stdout)
    return Sources(
        Path(values["bag"]), tuple(cameras), found["topics"], found["compressed"],
        tuple(found["awaited"]),
    )  # fmt: skip


@dataclass(frozen=True)
class Sources:
    """Which topics of a bag the node reads.

    Attributes:
        bag: the recording.
        cameras: names of a rig's cameras; empty for a single one.
        topics: input topic of the node to topic of the bag.
        compressed: the images are CompressedImage.
        awaited: topics of the bag that need a subscriber before it is played.
    """

    bag: Path
    cameras: tuple[str, ...]
    topics: Mapping[str, str]
    compressed: bool
    awaited: tuple[str, ...]


def replay(values: Values, found: Sources, params_file: str) -> list[Action]:
    """Return all processes of a replay; it is over when the recorder has written its results.

    Args:
        values: of REPLAY_ARGUMENTS.
        found: see `sources`.
        params_file: parameters where `params_file` is empty.
    """
    for name in ("map", "output"):
        if not values[name]:
            raise RuntimeError(f"give {name}:=...; --show-args says what it is")
    common = {
        **values,
        "use_sim_time": "true",
        "autostart": "true",
        "tf_in_namespace": "false",
        "dds_profile": values["dds_profile"] or share(DDS_PROFILE),
    }
    parameters: dict[str, object] = {}
    if found.cameras:
        parameters["cameras"] = list(found.cameras)
    if found.compressed:
        parameters["image.transport"] = "compressed"
    nodes = localization(common, params_file, list(found.topics.items()), parameters)
    options = process_options(common)
    player = ExecuteProcess(
        cmd=[
            ExecutableInPackage(package=PACKAGE, executable="deviloc"),
            "play", str(found.bag), "--clock", "--rate", values["rate"],
            # A large map takes its time.
            "--wait-seconds", "600",
            *(word for topic in found.awaited for word in ("--wait-for", topic)),
        ],
        output="screen",
        additional_env=options["additional_env"],
    )  # fmt: skip
    recorder = Node(
        package=PACKAGE,
        executable="pose_recorder",
        name="pose_recorder",
        parameters=[
            {
                "output": values["output"],
                "truth": values["truth"],
                "silence": float(values["silence"]),
            }
        ],
        remappings=[
            ("pose", f"{values['name']}/pose"),
            ("status", f"{values['name']}/status"),
            ("truth", values["truth_topic"]),
        ],
        **options,
    )
    ends = [
        RegisterEventHandler(OnProcessExit(target_action=process, on_exit=end(reason)))
        for process, reason in ((nodes[0], "the node has ended"), (recorder, "replay is over"))
    ]
    return [*ends, *nodes, recorder, player]
