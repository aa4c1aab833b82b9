"""`deviloc demo`: the main job, whole, on data it makes itself."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from deviloc_ros.cli.arguments import Subparsers, add_command
from deviloc_ros.errors import InputError

DESCRIPTION = """\
Drive through a simulated street twice. The first pass, by day, becomes a map. The second one, in
the evening, on another lane and among other cars, is recorded as a rosbag2, localized offline, and
replayed over ROS 2 through the node in a process of its own. Poses and transforms are compared
with the truth and told in one HTML page, whose path is printed last. Takes some minutes.

Needs rclpy; --offline leaves the node out. Exit code 3 if no image was localized."""

EXAMPLES = """\
  deviloc demo
  deviloc demo --output street/ --seed 4
  deviloc demo --offline                 # without ROS 2"""


def add_parser(subparsers: Subparsers) -> None:
    """Describe the command line."""
    parser = add_command(
        subparsers, "demo", "a simulated drive: map, replay, report", DESCRIPTION, EXAMPLES
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo-output"),
        metavar="DIR",
        help="folder for everything that is made, default demo-output",
    )
    parser.add_argument("--offline", action="store_true", help="do without ROS 2 and the node")
    parser.add_argument("--seed", type=int, default=0, help="another seed, another street")


def run(args: argparse.Namespace) -> int:
    """Run the demo."""
    if args.seed < 0:
        raise InputError(f"--seed {args.seed}: must be 0 or more")
    if not args.offline and (find_spec("rclpy") is None or find_spec("tf2_msgs") is None):
        raise InputError(
            "demo: ROS 2's rclpy and tf2_msgs are not installed, so the node cannot run; source a "
            "ROS 2 installation, use ./run demo, or add --offline to do without the node"
        )
    for module, package in (("vtkmodules", "vtk"), ("skimage", "scikit-image")):
        if find_spec(module) is None:
            raise InputError(f"demo: the street is drawn with {package}: pip install {package}")
    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"{args.output}: is a file; --output names a folder")
    args.output.mkdir(parents=True, exist_ok=True)

    from deviloc_ros.demo.passes import Scene
    from deviloc_ros.demo.run import result_line, run_demo

    seed = f" --seed {args.seed}" if args.seed else ""
    offline = " --offline" if args.offline else ""
    result = run_demo(
        args.output, Scene(seed=args.seed), not args.offline, f"deviloc demo{seed}{offline}"
    )
    print(result_line(result))
    print(result.page.resolve())
    return 0 if result.summary.localized else 3
