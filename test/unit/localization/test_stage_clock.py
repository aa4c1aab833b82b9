"""Times of stages that a device works through behind the host."""

from __future__ import annotations

import time
from typing import Any

import pytest

from deviloc_ros.localization import stage_clock
from deviloc_ros.localization.stage_clock import StageClock


class Device:
    """Works for one second on all that is asked between two marks, but is idle at the first."""

    def __init__(self) -> None:
        self.now = 0.0
        self.busy_until = 0.0

    def mark(self) -> Mark:
        return Mark(max(self.busy_until, self.now))

    def work(self, seconds: float) -> None:
        self.busy_until = max(self.busy_until, self.now) + seconds


class Mark:
    def __init__(self, at: float) -> None:
        self.at = at

    def seconds_since(self, earlier: Any) -> float:
        return float(self.at - earlier.at)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    made = Device()
    monkeypatch.setattr(stage_clock.time, "perf_counter", lambda: made.now)
    return made


def test_work_of_the_device_counts_where_it_was_asked_for(device: Device) -> None:
    clock = StageClock(device.mark)
    with clock("extract"):
        device.work(5.0)
        device.now += 1.0  # the host is done with the stage long before the device
    with clock("retrieve"):
        device.work(2.0)
        device.now = device.busy_until  # waits
    with clock("pose"):
        device.now += 3.0
    assert clock.seconds == pytest.approx({"extract": 5.0, "retrieve": 2.0, "pose": 3.0})


def test_images_of_a_batch_share_what_they_have_in_common(device: Device) -> None:
    common = StageClock(device.mark)
    with common("extract"):
        device.work(4.0)
        device.now += 1.0
    first = common.shared(2)
    with first("match"):
        device.work(1.0)
        device.now = device.busy_until
    assert first.seconds == pytest.approx({"extract": 2.0, "match": 1.0})


def test_without_a_device_it_is_the_host_that_counts() -> None:
    clock = StageClock()
    for _ in range(2):
        with clock("pose"):
            time.sleep(0.01)
    assert list(clock.seconds) == ["pose"]
    assert clock.seconds["pose"] >= 0.02
