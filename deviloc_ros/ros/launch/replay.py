"""The parts of a replay: the node, a player of the bag, and a recorder that ends it all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.action import Action
from launch.actions import ExecuteProcess, RegisterEventHandler
from launch.event_handlers import OnProcessExit
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from deviloc_ros.bags.reader import IMAGE_TYPES, Bag
from deviloc_ros.errors import InputError
from deviloc_ros.ros.launch.arguments import NODE_ARGUMENTS, Argument
from deviloc_ros.ros.launch.launching import (
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
    topics: dict[str, str]
    compressed: bool
    awaited: tuple[str, ...]

    @staticmethod
    def find(path: Path, cameras: Sequence[str], image: str, camera_info: str) -> Sources:
        """Look into a bag.

        Args:
            path: the bag.
            cameras: of a rig; empty for a single camera.
            image: its topic, of a rig that below each name; empty: the only one there is.
            camera_info: its topic; empty: beside the images.

        Raises:
            RuntimeError: the bag or a topic is missing; launch prints the message.
        """
        topics: dict[str, str] = {}
        awaited: list[str] = []
        kinds = set()
        try:
            with Bag(path) as bag:
                for name in cameras or [""]:
                    wanted = f"/{name}/{image or 'image'}" if name else image or None
                    found = bag.image_topic(wanted)
                    info = f"/{name}/{camera_info}" if name and camera_info else camera_info
                    calibration = bag.info_topic(found, info or None)
                    prefix = f"{name}/" if name else ""
                    plain = found.name.removesuffix("/compressed")
                    kinds.add(found.type)
                    topics[f"{prefix}image"] = plain if found.type == IMAGE_TYPES[1] else found.name
                    topics[f"{prefix}camera_info"] = calibration.name
                    awaited += [found.name, calibration.name]
                fixed = [name for name in bag.topics if name == "/tf_static"]
        except InputError as error:
            raise RuntimeError(str(error)) from None
        if len(kinds) > 1:
            raise RuntimeError(f"{path}: some cameras are compressed, some are not")
        return Sources(path, tuple(cameras), topics, kinds == {IMAGE_TYPES[1]}, (*awaited, *fixed))


def replay(values: Values, sources: Sources, params_file: str) -> list[Action]:
    """Return all processes of a replay; it is over when the recorder has written its results.

    Args:
        values: of REPLAY_ARGUMENTS.
        sources: see there.
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
        "dds_profile": values["dds_profile"] or share("config/fastdds_shm.xml"),
    }
    parameters: dict[str, object] = {}
    if sources.cameras:
        parameters["cameras"] = list(sources.cameras)
    if sources.compressed:
        parameters["image.transport"] = "compressed"
    nodes = localization(common, params_file, list(sources.topics.items()), parameters)
    options = process_options(common)
    player = ExecuteProcess(
        cmd=[
            ExecutableInPackage(package=PACKAGE, executable="deviloc"),
            "play", str(sources.bag), "--clock", "--rate", values["rate"],
            # A large map takes its time.
            "--wait-seconds", "600",
            *(word for topic in sources.awaited for word in ("--wait-for", topic)),
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
