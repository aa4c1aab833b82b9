"""More images than the node can work through: short; `./run bench load` does it for minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from load import PROFILE, RIG, node_parameters
from maps import write_random_map
from node_load.slow_reader import SlowReader
from node_load.traffic import Load
from rclpy.context import Context
from robot import domain_id

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.ros.tools.node_process import NodeProcess

pytestmark = pytest.mark.ros

CAMERA = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
RATE = 40.0
MEGABYTES_A_SECOND = len(RIG) * CAMERA.width * CAMERA.height * RATE / 1e6


def test_frames_are_dropped_not_queued_and_a_slow_reader_slows_nobody(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(PROFILE))
    map_path = write_random_map(tmp_path / "random.devmap", 8, 1024)
    generator = np.random.default_rng(0)
    images = {
        name: [
            generator.integers(0, 256, (CAMERA.height, CAMERA.width)).astype(np.uint8)
            for _ in range(3)
        ]
        for name in RIG
    }
    log = tmp_path / "log"
    process = NodeProcess(node_parameters(map_path, RIG), {}, log, domain_id())
    with process, Load(context, images, CAMERA, RATE, process.pid) as load:
        record = load.record

        def answers_after(count: int, seconds: float) -> bool:
            """Whether there are so many more answers, over at least so long a time."""
            begin, stamp = len(record.answers), record.sent[-1]
            load.wait(lambda: len(record.answers) >= begin + count, 240)
            load.wait(lambda: record.sent[-1] > stamp + seconds, 240)
            return True

        load.wait(lambda: len(record.answers) >= 3, 240)
        warm = memory(record.memory)
        answers_after(20, seconds=12)
        with SlowReader(context, 60.0) as reader:
            load.wait(lambda: reader.read == 1, 240)
            # It is busy with its first message, and the node goes on.
            answers_after(20, seconds=6)
            assert reader.read == 1
        load.wait(lambda: int(record.diagnostics.get("frames_dropped", 0)) > 0, 60)
        grown = memory(record.memory) - warm
    assert process.exit_code == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    assert len(record.answers) < len(record.sent)
    # A queue of what was not worked on would have grown by this; half of it would be no accident.
    unanswered = (len(record.sent) - len(record.answers)) / RATE
    assert grown < 0.5 * MEGABYTES_A_SECOND * unanswered
    # Each image was new when the node was ready for it: nothing waits behind other images.
    assert np.quantile(record.excess(), 0.9) < 2.0


def memory(series: list[tuple[float, float]]) -> float:
    """Return the median of the last seconds, MB."""
    return float(np.median([megabytes for _, megabytes in series[-3:]]))
