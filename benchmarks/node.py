"""How many images a second the node localizes on a robot, how late, and what that costs.

    ./run bench node MAP --images DIR --model DIR [--rate 10] [--cameras 1] [--seconds 30]
        [--config FILE.yaml]

MODEL is a COLMAP model with the true poses. A robot drives along those of its images that are not
in the map, there and back. A process of its own publishes images, camera_info and odometry (50 Hz,
exact) over DDS to the real node. With --cameras 3 a rig of three shows the same image thrice.
Printed: images sent and localized a second, latency from the image's stamp to the result, the
share of processor that each process uses (200 % are two cores), and the stages as the node tells
them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from node_load.drive import Drive, DriveProcess
from node_load.record import Answer, Record
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.maps.open_map import open_map
from deviloc_ros.messages.stamped import stamp_ns
from deviloc_ros.ros.tools.node_process import NodeProcess

# A camera that looks ahead, a metre above the base.
MOUNT = Transform(Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0, 0, 1.0]))
NAMES = ("front", "second", "third")
# Results that come before are not counted: caches fill.
WARM = 20


class Listener:
    """Hears what the node says of images and of itself."""

    def __init__(self, domain: int) -> None:
        """Subscribe."""
        self.record = Record()
        self._context = Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = Node("listener", context=self._context)
        listen = self._node.create_subscription
        listen(DiagnosticArray, "/localization/status", self._on_status, QoSProfile(depth=100))
        listen(DiagnosticArray, "/diagnostics", self._on_diagnostics, QoSProfile(depth=10))
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)

    def spin(self, seconds: float) -> None:
        """Listen for a time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Stop listening."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _on_status(self, message: DiagnosticArray) -> None:
        stamp = stamp_ns(message.header.stamp) * 1e-9
        if len(message.status) > 1:
            self.record.answers.append(Answer(stamp, time.time(), message.status[0].message))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.record.diagnostics = {item.key: item.value for item in status.values}


def drive_of(args: argparse.Namespace, domain: int) -> Drive:
    """Return the drive along the images that the map lacks."""
    mapped = {reference.name for reference in open_map(args.map).references}
    posed = sorted(posed_images(args.model), key=lambda image: image.name)
    posed = [image for image in posed if image.name not in mapped]
    camera_from_base = MOUNT.inverse()
    return Drive(
        [read_gray(args.images / image.name) for image in posed],
        [image.camera_from_map.inverse() @ camera_from_base for image in posed],
        posed[0].camera,
        dict.fromkeys(NAMES[: args.cameras], MOUNT),
        args.rate,
        domain,
    )


def parameters(args: argparse.Namespace) -> dict[str, str]:
    """Return the node's parameters."""
    names = NAMES[: args.cameras]
    several = {"cameras": f"[{', '.join(names)}]"} if args.cameras > 1 else {}
    return {"map.path": str(args.map), "autostart": "true", "diagnostics.period": "1.0", **several}


def processor_seconds(process: int) -> float:
    """Return the processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("map", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="COLMAP model: the true poses")
    parser.add_argument("--rate", type=float, default=10.0, help="images a second")
    parser.add_argument("--cameras", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--config", type=Path, help="parameters file, such as those in config/")
    args = parser.parse_args()
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    domain = os.getpid() % 100 + 1
    drive = drive_of(args, domain)
    remaps = (
        {} if args.cameras > 1 else {"image": "/front/image", "camera_info": "/front/camera_info"}
    )
    listener = Listener(domain)
    with tempfile.TemporaryDirectory() as folder:
        node = NodeProcess(parameters(args), remaps, Path(folder) / "log", domain, args.config)
        with node, DriveProcess(drive) as robot:
            record = listener.record
            while len(record.answers) < WARM:
                listener.spin(0.1)
                if node.ended:
                    raise SystemExit(node.last_words())
            processes = {"the node": node.pid, "the robot": robot.pid}
            before = {name: processor_seconds(process) for name, process in processes.items()}
            begin, first = time.time(), len(record.answers)
            listener.spin(args.seconds)
            took, answers = time.time() - begin, record.answers[first:]
            used = {n: processor_seconds(p) - before[n] for n, p in processes.items()}
    listener.close()
    latency = np.array([answer.arrived - answer.stamp for answer in answers])
    localized = sum(answer.text == "LOCALIZED" for answer in answers)
    print(
        f"images a second: {args.rate:g} sent, {len(answers) / took:.2f} answered, "
        f"{localized / took:.2f} localized"
    )
    print(
        f"latency: median {1000 * np.median(latency):.0f} ms, "
        f"95 % {1000 * np.quantile(latency, 0.95):.0f} ms"
    )
    for name, seconds in used.items():
        print(f"processor of {name}: {100 * seconds / took:.0f} %")
    print(f"load average of the machine: {os.getloadavg()[0]:.1f}")
    for key, value in record.diagnostics.items():
        if key.startswith(("stage", "latency", "wait")) or "_ms" in key:
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
