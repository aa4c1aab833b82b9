"""Sets of images of one instant: complete, late, missing, overtaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.robot.calibration import NoCalibration
from deviloc_ros.robot.frame_set import Frame, FrameSet
from deviloc_ros.robot.synchronizer import Synchronizer

NAMES = ("left", "rear", "right")
MS = 1_000_000


def frame(camera: str, milliseconds: float) -> Frame:
    return Frame(camera, None, round(milliseconds * MS), camera, NoCalibration("/info"))


def synchronizer(tolerance: int = 10, timeout: float = 0.1) -> Synchronizer:
    return Synchronizer(NAMES, tolerance * MS, timeout)


def names(frames: FrameSet) -> list[str]:
    return [item.camera for item in frames.frames]


def test_a_complete_set_leaves_at_once_in_the_order_of_the_cameras() -> None:
    sync = synchronizer()
    assert sync.add(frame("right", 1003), 0.0) == []
    assert sync.add(frame("left", 1001), 0.01) == []
    [complete] = sync.add(frame("rear", 998), 0.02)
    assert names(complete) == list(NAMES)
    # The first camera's stamp.
    assert (complete.stamp, complete.missing) == (1001 * MS, ())
    assert sync.due is None


def test_a_camera_beyond_the_tolerance_is_of_another_instant() -> None:
    sync = synchronizer()
    sync.add(frame("left", 1000), 0.0)
    sync.add(frame("rear", 1000), 0.0)
    [without] = sync.add(frame("right", 1011), 0.0)
    # Right has moved on, so nothing more can come.
    assert names(without) == ["left", "rear"]
    assert without.missing == ("right",)
    assert sync.counts["right"].missing == 1


def test_a_missing_camera_is_waited_for_until_the_timeout() -> None:
    sync = synchronizer()
    sync.add(frame("left", 1000), 5.0)
    sync.add(frame("rear", 1002), 5.03)
    assert sync.due == pytest.approx(5.1)
    assert sync.flush(5.09) == []
    [incomplete] = sync.flush(5.1)
    assert incomplete.missing == ("right",)
    assert sync.due is None
    # What comes after that is late, and is not a set of its own.
    assert sync.add(frame("right", 1001), 5.11) == []
    assert sync.due is None
    assert (sync.counts["right"].late, sync.counts["right"].received) == (1, 1)


def test_nobody_waits_for_a_camera_that_has_long_been_silent() -> None:
    sync = synchronizer()
    for name in NAMES:
        sync.add(frame(name, 0), 0.0)
    waits = []
    for number in range(1, 25):
        stamp, now = number * 100, number * 0.1
        sync.add(frame("left", stamp), now)
        waits.append(not sync.add(frame("rear", stamp), now))
        sync.flush(now + 0.1)
    assert waits[0]
    assert not waits[-1]
    assert sync.counts["right"].missing == 24
    assert [sync.counts[name].silent for name in NAMES] == [False, False, True]
    # It is waited for again when it is back.
    sync.add(frame("right", 2500), 2.5)
    sync.add(frame("left", 2500), 2.5)
    [complete] = sync.add(frame("rear", 2500), 2.5)
    assert complete.missing == ()
    assert not sync.counts["right"].silent
    sync.add(frame("left", 2600), 2.6)
    assert sync.add(frame("rear", 2600), 2.6) == []


def test_a_newer_set_overtakes_an_older_one_that_waits() -> None:
    sync = synchronizer()
    sync.add(frame("left", 1500), 0.0)
    assert sync.add(frame("rear", 1000), 0.09) == []  # five images behind
    [newer] = sync.flush(0.1)
    assert names(newer) == ["left"]
    assert sync.counts["rear"].late == 1
    assert sync.due is None


def test_a_bag_that_loops_starts_anew() -> None:
    sync = synchronizer()
    for stamp in (1000, 9000, 1000):
        sync.add(frame("left", stamp), 0.0)
        sync.add(frame("rear", stamp), 0.0)
        [complete] = sync.add(frame("right", stamp), 0.0)
        assert complete.stamp == stamp * MS
    assert sync.counts["left"].late == 0


def test_the_same_image_twice_counts_as_late() -> None:
    sync = synchronizer()
    sync.add(frame("left", 1000), 0.0)
    assert sync.add(frame("left", 1000), 0.0) == []
    assert sync.counts["left"].late == 1


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(-12, 12), st.integers(0, 180), st.booleans()),
        max_size=60,
    )
)
def test_every_image_is_in_one_set_or_is_late_and_sets_are_in_order(
    events: list[tuple[int, int, int, bool]],
) -> None:
    """Whatever jitter, delay and loss: no image twice, none lost uncounted, stamps ascend."""
    sync = synchronizer()
    arrivals = []
    for number, (camera, jitter, delay, lost) in enumerate(events):
        if not lost:
            stamp = 1000 + (number // 3) * 100 + jitter
            arrivals.append((stamp + delay, frame(NAMES[camera], stamp)))
    arrivals.sort(key=lambda item: item[0])
    sets: list[FrameSet] = []
    for time_ms, item in arrivals:
        sets += sync.flush(time_ms / 1000)
        sets += sync.add(item, time_ms / 1000)
    sets += sync.flush(1e6)
    assert sync.due is None
    sent = [item for each in sets for item in each.frames]
    assert len({id(item) for item in sent}) == len(sent)
    late = sum(count.late for count in sync.counts.values())
    received = sum(count.received for count in sync.counts.values())
    assert received == len(arrivals) == len(sent) + late
    assert sum(count.missing for count in sync.counts.values()) == sum(
        len(each.missing) for each in sets
    )
    for each in sets:
        stamps = [item.stamp for item in each.frames]
        assert max(stamps) - min(stamps) <= 20 * MS
        assert each.stamp == each.frames[0].stamp
