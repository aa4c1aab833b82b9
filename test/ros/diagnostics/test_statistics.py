"""What is counted of images, and what is averaged."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import Correspondences, FailureReason, LocalizationFailure
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.robot.frame_set import FrameSet
from deviloc_ros.robot.outcome import Fix, Outcome, Refusal
from deviloc_ros.ros.diagnostics import statistics
from deviloc_ros.ros.diagnostics.snapshot import device_memory, process_memory
from deviloc_ros.ros.diagnostics.statistics import WINDOW_SECONDS, Statistics

CAMERA = Camera("PINHOLE", 64, 48, (50.0, 50.0, 32.0, 24.0))
POSE = Fix(BasePose(Transform.identity(), np.eye(6)), {})


class Clock:
    """The machine's clock, as the statistics see it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(statistics, "time", clock)
    return clock


def outcome(inliers: int | None, **stages: float) -> Outcome:
    """Return a pose with so many inliers, or a refusal."""
    frames = FrameSet(0, ())
    if inliers is None:
        failure = LocalizationFailure(FailureReason.NO_POSE, "12 matches", stages)
        return Outcome(frames, Refusal(failure.reason, failure.details), failure)
    here = Transform.identity()
    matches = Correspondences(
        np.zeros((inliers, 2)),
        np.zeros((inliers, 3)),
        np.ones(inliers),
        np.zeros(inliers, np.int64),
        np.zeros((inliers, 2)),
    )
    view = CameraView(CAMERA, here, matches, np.ones(inliers, np.bool_), [])
    return Outcome(frames, POSE, RigEstimate(here, np.eye(6), [view], stages))


def test_means_are_over_the_last_seconds(clock: Clock) -> None:
    counted = Statistics()
    counted.count(outcome(1000, match=9.0), 1.0, 9.0, 0.5, "map -> odom")
    clock.now += WINDOW_SECONDS + 1
    counted.count(outcome(100, match=0.1), 0.1, 0.4, 0.5, "map -> odom")
    counted.count(outcome(200, match=0.3, pose=0.2), 0.3, 0.6, 0.5, "map -> odom")
    counted.count(outcome(None), 0.2, 0.2, 0.5, "")
    now = counted.snapshot()
    assert (now.localized, now.refused, now.late, now.inliers) == (3, 1, 2, 200)
    assert now.latency == pytest.approx(0.4)
    assert now.stages["wait"] == pytest.approx(0.2)
    assert now.stages["match"] == pytest.approx(0.4 / 3)
    assert now.mean_inliers == pytest.approx(150)
    assert now.rate == pytest.approx(2 / WINDOW_SECONDS)
    assert now.last_refusal == "NO_POSE: 12 matches"
    assert now.tf == "map -> odom"
    clock.now += WINDOW_SECONDS + 1
    later = counted.snapshot()
    assert later.rate == 0
    assert math.isnan(later.latency)
    assert math.isnan(later.mean_inliers)
    assert later.fix_age == pytest.approx(WINDOW_SECONDS + 1)


def test_the_rate_of_a_young_node_is_over_its_life(clock: Clock) -> None:
    counted = Statistics()
    for _ in range(4):
        clock.now += 0.5
        counted.count(outcome(100), 0.0, 0.1, 0.5, "")
    assert counted.snapshot().rate == pytest.approx(2.0)


def test_the_share_of_dropped_images_is_that_of_the_last_seconds(clock: Clock) -> None:
    counted = Statistics()
    for _ in range(10):
        counted.count_received(replaced=True)
    clock.now += WINDOW_SECONDS + 1
    for number in range(8):
        counted.count_received(replaced=number % 4 == 0)
    now = counted.snapshot()
    assert (now.received, now.dropped) == (18, 12)
    assert now.dropped_share == pytest.approx(0.25)


def test_after_a_pause_the_age_of_the_fix_counts_anew(clock: Clock) -> None:
    counted = Statistics()
    counted.count(outcome(100), 0.0, 0.1, 0.5, "")
    clock.now += 60
    assert counted.snapshot().fix_age == pytest.approx(60)
    counted.listen()
    clock.now += 2
    now = counted.snapshot()
    assert now.fix_age == pytest.approx(2)
    assert now.listening == pytest.approx(2)


def test_faults_of_the_node_are_counted_apart() -> None:
    counted = Statistics()
    fault = Refusal(FailureReason.INTERNAL_ERROR, "out of memory")
    counted.count(Outcome(FrameSet(0, ()), fault), 0.0, 0.0, 0.5, "")
    counted.count(outcome(None), 0.0, 0.0, 0.5, "")
    assert counted.snapshot().internal_errors == 1


def test_nothing_is_lost_between_threads() -> None:
    counted = Statistics()

    def work() -> None:
        for _ in range(500):
            counted.count_received(replaced=False)
            counted.count(outcome(1), 0.0, 0.0, 0.5, "")
            counted.snapshot()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = counted.snapshot()
    assert (now.received, now.localized) == (2000, 2000)


def test_memory_of_the_process_grows_with_what_it_holds() -> None:
    before = process_memory()
    held = np.ones(30_000_000)
    assert 200 < process_memory() - before < 400
    assert held[-1] == 1


def test_device_memory_is_that_of_a_device_in_use() -> None:
    import torch

    if not torch.cuda.is_available():
        assert device_memory() is None
        return
    torch.zeros(1, device="cuda")
    used, total = device_memory() or (0.0, 0.0)
    assert 0 < used <= total


def test_images_that_cannot_be_used_are_told_by_reason_and_camera(clock: Clock) -> None:
    frames = FrameSet(0, ())
    wrong = Refusal(FailureReason.BAD_CALIBRATION, "D")
    counted = Statistics()
    counted.count(Outcome(frames, wrong), 0.0, 0.1, 0.5, "")
    now = counted.snapshot()
    assert (dict(now.unusable), now.all_unusable) == ({"BAD_CALIBRATION": 1}, True)
    # A rig that localizes without one of its cameras.
    counted.count(Outcome(frames, POSE, left_out={"rear": wrong}), 0.0, 0.1, 0.5, "")
    now = counted.snapshot()
    assert dict(now.unusable) == {"BAD_CALIBRATION": 1, "rear BAD_CALIBRATION": 1}
    assert not now.all_unusable
    clock.now += WINDOW_SECONDS + 1
    assert not counted.snapshot().unusable
