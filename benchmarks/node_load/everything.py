"""One camera, 1920x1080 colour at 30 Hz, and everything else at once; see `robustness.py`."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import rclpy
from load import PROFILE, RIG, make_map
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions

from deviloc_ros.cli.main import main as deviloc
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.ros.tools.node_process import NodeProcess
from deviloc_ros.simulation import wall
from node_load.disturbances import Disturbances
from node_load.judgement import figures, growth, rest, unaccounted
from node_load.slow_reader import SlowReader
from node_load.traffic import Load

CAMERA = Camera("PINHOLE", 1920, 1080, (1500.0, 1500.0, 960.0, 540.0))
RATE = 30.0
READ_SECONDS = 3.0
"""What the slow reader takes for a message."""
SETTLE_SECONDS = 120.0


@dataclass
class Everything:
    """What came of it.

    Attributes:
        figures: by name, for people.
        faults: what was wrong.
    """

    figures: dict[str, object] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def two_maps(folder: Path) -> tuple[str, str]:
    """Return the wall's map, and another one of it, 1 % larger; they are made if absent."""
    first = make_map(folder)
    second = folder / "larger.devmap"
    if not second.exists():
        arguments = ["map", "align", str(first), "--scale", "1.01", "--output", str(second)]
        if deviloc(arguments) != 0:
            raise RuntimeError(f"{first}: cannot be scaled")
    return str(first), str(second)


def run_everything(folder: Path, minutes: float, seed: int) -> Everything:
    """Run the node for so many minutes after it is warm, and judge it.

    Args:
        folder: keeps the maps and the node's log.
        minutes: how long; the first one is for caches to fill.
        seed: of what is done when.
    """
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(PROFILE)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    folder.mkdir(parents=True, exist_ok=True)
    maps = two_maps(folder)
    views = [
        np.repeat(wall.view(wall.before_the_wall(x) @ RIG["front"], CAMERA)[..., None], 3, axis=2)
        for x in np.linspace(-2, 2, 4)
    ]
    parameters = {
        "map.path": maps[0],
        "autostart": "true",
        "use_sim_time": "true",
        "frames.base": "front_optical",
        "matching.context": "never",
    }
    remaps = {"image": "/front/image", "camera_info": "/front/camera_info"}
    domain = os.getpid() % 100 + 1
    context = Context()
    rclpy.init(context=context, domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
    outcome = Everything()
    log = folder / "node.log"
    process = NodeProcess(parameters, remaps, log, domain)
    with process, Disturbances(context, maps, seed) as disturbances:
        clock = disturbances.clock.now
        with Load(context, {"front": views}, CAMERA, RATE, process.pid, clock) as load:
            load.wait(lambda: len(load.record.answers) > 3, 300)
            begin = time.monotonic()
            disturbances.begin()
            with SlowReader(context, READ_SECONDS) as reader:
                while time.monotonic() < begin + 60 * minutes and not process.ended:
                    time.sleep(0.5)
            if process.ended:
                outcome.faults.append(f"the node ended: {process.last_words()}")
            else:
                end = time.monotonic()
                disturbances.end()
                load.rest()
                with suppress(TimeoutError):  # what is missing then is told below
                    load.wait(lambda: rest(load.record) == 0, SETTLE_SECONDS)
                outcome.faults += [*unaccounted(load.record), *disturbances.faults]
                outcome.figures = figures(load.record, begin, end)
                outcome.figures |= {**disturbances.done, "read by the slow reader": reader.read}
                outcome.faults += growth(load.record, begin, end)
    rclpy.try_shutdown(context=context)
    if process.exit_code != 0:
        outcome.faults.append(f"exit code {process.exit_code}: {process.last_words()}")
    if "Traceback" in log.read_text("utf-8", "replace"):
        outcome.faults.append(f"{log}: has a traceback")
    (folder / "memory.json").write_text(json.dumps(load.record.memory))
    return outcome
