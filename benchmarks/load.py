"""Whether the node stands load: images come faster than it can work, for as long as one likes.

    ./run bench load [--minutes 10] [--work DIR] [--json FILE]

A rig of three cameras, 1024x768 colour at 20 Hz, is published to the real node in a process of its
own over DDS; it localizes the rig in a map of the simulated wall. In the second half a reader that
takes seconds for each message listens as well. Printed: memory over time, latency, what was
dropped, what the reader changed, and how long the node takes to end on SIGTERM.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from node_load.record import Record
from node_load.slow_reader import SlowReader
from node_load.traffic import Load
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.ros.tools.node_process import NodeProcess
from deviloc_ros.simulation import wall

CAMERA = Camera("PINHOLE", 1024, 768, (850.0, 850.0, 512.0, 384.0))
MOUNT = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
RIG = {
    name: Transform(Rotation.from_euler("z", yaw, degrees=True) * MOUNT, np.array([0.2, y, 1.0]))
    for name, yaw, y in (("left", 20, 0.2), ("front", 0, 0.0), ("right", -20, -0.2))
}
PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds_shm.xml"


def node_parameters(map_path: Path, rig: dict[str, Transform]) -> dict[str, str]:
    """Return what makes the node localize a rig by itself."""
    numbers = {
        "translation": [value for pose in rig.values() for value in pose.translation.tolist()],
        "rotation": [value for pose in rig.values() for value in pose.quaternion_xyzw.tolist()],
    }
    return {
        "map.path": str(map_path),
        "autostart": "true",
        # Noise leaves doubt in every image; this is a load of images, not of attention.
        "matching.context": "never",
        "cameras": f"[{', '.join(rig)}]",
        "extrinsics.source": "parameters",
        **{f"extrinsics.{name}": str(values) for name, values in numbers.items()},
        "debug.publish_image": "true",
    }


def make_map(folder: Path) -> Path:
    """Build the map of the wall, or take the one that is there."""
    path = folder / "wall.devmap"
    if path.exists():
        return path
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "model").mkdir(exist_ok=True)
    posed = []
    for index, x in enumerate(np.linspace(-3, 3, 9)):
        place = wall.before_the_wall(float(x), yaw=float(10 * (-1) ** index))
        pose = place @ RIG["front"]
        name = f"{index:02d}.png"
        cv2.imwrite(str(folder / "images" / name), wall.view(pose, CAMERA))
        posed.append(PosedImage(name, CAMERA, pose.inverse()))
    write_posed_images(folder / "model", posed)
    options = BuildOptions(metric=True, gravity_aligned=True)
    build_map(folder / "images", path, folder / "model", options)
    return path


def report(record: Record, half: float, read: int) -> dict[str, object]:
    """Return the figures."""
    # Caches fill in the beginning: references, compiled networks, the allocators' arenas.
    warm = record.memory[len(record.memory) // 5 :]
    times, memory = (np.array(column) for column in zip(*warm, strict=True))
    slope = float(np.polyfit(times - times[0], memory, 1)[0]) * 3600
    parts = {
        "before the slow reader": [a for a in record.answers if a.arrived < half],
        "with the slow reader": [a for a in record.answers if a.arrived >= half],
    }
    return {
        "minutes": round((record.memory[-1][0] - record.memory[0][0]) / 60, 1),
        "sets sent": len(record.sent),
        "answers": len(record.answers),
        "localized": sum(answer.text == "LOCALIZED" for answer in record.answers),
        "dropped by the node": record.diagnostics.get("frames_dropped"),
        "memory MB at first": round(record.memory[0][1], 1),
        "memory MB after a fifth of the time": round(float(np.median(memory[:10])), 1),
        "memory MB at the end": round(float(np.median(memory[-10:])), 1),
        "memory MB at most": round(float(memory.max()), 1),
        "memory MB an hour, after a fifth of the time": round(slope, 1),
        "latency s, median": round(float(np.median(record.latencies())), 3),
        "latency s, 99 %": round(float(np.quantile(record.latencies(), 0.99)), 3),
        "latency s, most": round(float(record.latencies().max()), 3),
        "age of images taken up s, 99 %": round(float(np.quantile(record.excess(), 0.99)), 3),
        **{
            f"{name}: answers a second, median latency s": (
                round((len(part) - 1) / (part[-1].arrived - part[0].arrived), 2),
                round(float(np.median([a.arrived - a.stamp for a in part])), 3),
            )
            for name, part in parts.items()
        },
        "messages read by the slow reader": read,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--work", type=Path, help="folder that keeps the map between runs")
    parser.add_argument("--json", type=Path, help="write the figures and the series")
    args = parser.parse_args()
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(PROFILE)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.work or Path(temporary)
        map_path = make_map(folder)
        images = {
            name: [
                np.repeat(wall.view(wall.before_the_wall(x) @ mount, CAMERA)[..., None], 3, axis=2)
                for x in np.linspace(-2, 2, 10)
            ]
            for name, mount in RIG.items()
        }
        domain = os.getpid() % 100 + 1
        context = Context()
        rclpy.init(
            context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO
        )
        process = NodeProcess(node_parameters(map_path, RIG), {}, folder / "node.log", domain)
        with process, Load(context, images, CAMERA, 20.0, process.pid) as load:
            load.wait(lambda: len(load.record.answers) > 5, 300)
            seconds = args.minutes * 60
            time.sleep(seconds / 2)
            half = time.time()
            with SlowReader(context, 3.0) as reader:
                time.sleep(seconds / 2)
            figures = report(load.record, half, reader.read)
            begin = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            while not process.ended:
                time.sleep(0.01)
            figures["seconds from SIGTERM to the end"] = round(time.monotonic() - begin, 2)
        figures["load average of the machine"] = os.getloadavg()
        figures["exit code"] = process.exit_code
        rclpy.try_shutdown(context=context)
    for name, value in figures.items():
        print(f"{name:<55}{value}")
    if args.json:
        series = {"memory": load.record.memory, "latency": load.record.latencies().tolist()}
        args.json.write_text(json.dumps({**figures, **series}))


if __name__ == "__main__":
    main()
