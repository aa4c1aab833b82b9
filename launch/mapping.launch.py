"""Build a map from a folder of images, or from the images of a bag.

ros2 launch deviloc_ros mapping.launch.py images:=photos/ map:=place.devmap
ros2 launch deviloc_ros mapping.launch.py bag:=drive/ map:=place.devmap

If the transforms of the bag tell where its images were taken, the map is metric, with z up. A page
beside the map (place.html) tells where it is thin. The same command goes on where an interrupted
one stopped.
"""

import shlex
from collections.abc import Sequence

from deviloc_ros.ros.launch.arguments import Argument
from deviloc_ros.ros.launch.launching import launch_file, run_steps
from launch import Action, LaunchDescription

ARGUMENTS = {
    "map": Argument("", "the map file to write"),
    "images": Argument("", "folder of images, searched deep; or give bag"),
    "bag": Argument("", "bag whose images are taken: folder, .mcap or .db3 file, or .bag of ROS 1"),
    "topic": Argument("", "image topic of the bag, or those of a rig with spaces between them"),
    "rig": Argument("", "file with the cameras of a rig, as `deviloc bag --rig` takes it"),
    "distance": Argument("0.5", "of the bag: an image every so many metres of odometry"),
    "every": Argument("", "of a bag without odometry: seconds; empty: what images show decides"),
    "model": Argument("", "COLMAP model with the images' poses; empty: they are reconstructed"),
    "options": Argument("", "more options of `deviloc map build`, as on its command line"),
}


def start(values: dict[str, str]) -> Sequence[Action]:
    """Return the first command, which the others follow."""
    if not values["map"] or bool(values["images"]) == bool(values["bag"]):
        raise RuntimeError("give map:=FILE, and either images:=DIR or bag:=BAG")
    output = ["--output", values["map"]]
    options = shlex.split(values["options"])
    options += ["--model", values["model"]] if values["model"] else []
    if values["images"]:
        return run_steps(
            [lambda: ["map", "build", "--images", values["images"], *output, *options]]
        )
    if values["model"]:
        raise RuntimeError("model:= goes with images:=; poses of a bag come from its transforms")
    topics = [text for topic in values["topic"].split() for text in ("--topic", topic)]
    rig = ["--rig", values["rig"]] if values["rig"] else []
    often = ["--distance", values["distance"]]
    often += ["--every", values["every"]] if values["every"] else []
    bag = ["--bag", values["bag"], *topics, *rig, *often]
    return run_steps([lambda: ["map", "build", *bag, *output, *options]])


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the commands."""
    return launch_file(ARGUMENTS, start)
