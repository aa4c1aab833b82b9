"""Images are chosen by what they show: motion, turning, overlap and sharpness."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from wall_map import BASE_FROM_CAMERA, map_from_base, view

from deviloc_ros.bags.extraction.frame_choice import (
    BLANK,
    LESS_SHARP,
    NOTHING_NEW,
    ChoiceOptions,
    Chosen,
    Frame,
    FrameChoice,
    Moment,
)
from deviloc_ros.bags.extraction.view_change import Follower, look_at
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation import wall

NEAR = (*wall.BOARDS, wall.Board(-1.5, -0.3, 2.0, -1.0, 3.0, seed=5))
ODOM_FROM_MAP = Transform(Rotation.from_euler("z", 1.0), np.array([3.0, 1.0, 0.0]))
BLUR = np.full((1, 25), 1 / 25, np.float32)


def image(
    x: float, yaw: float = 0.0, boards: tuple[wall.Board, ...] = wall.BOARDS
) -> NDArray[np.uint8]:
    return view(map_from_base(x, yaw=yaw) @ BASE_FROM_CAMERA, boards)


def choose(
    options: ChoiceOptions,
    images: Sequence[NDArray[np.uint8]],
    places: Sequence[float] | None = None,
) -> tuple[list[Chosen], FrameChoice]:
    """Offer images, one a second, with the robot's way where it is known."""
    choice = FrameChoice(options)
    found: list[Chosen] = []
    for index, pixels in enumerate(images):
        pose = None
        if places is not None:
            pose = ODOM_FROM_MAP @ map_from_base(places[index]) @ BASE_FROM_CAMERA
        stamp = index * 1_000_000_000
        found += choice.offer(Frame(Moment(stamp, stamp, pose), pixels))
    return [*found, *choice.finish()], choice


def seconds(found: Sequence[Chosen]) -> list[int]:
    return [item.frame.moment.stamp // 1_000_000_000 for item in found]


@pytest.fixture(scope="module")
def drive() -> list[NDArray[np.uint8]]:
    """Seventeen images, 0.1 m apart, with something near before what is far."""
    return [image(0.1 * i - 0.8, boards=NEAR) for i in range(17)]


def test_the_share_that_is_still_seen_is_the_truth(drive: list[NDArray[np.uint8]]) -> None:
    first = look_at(image(-0.8))
    # 5 degrees are 400 px * tan of them, of 480 px.
    turned = Follower(first).follow(look_at(image(-0.8, yaw=5)))
    assert turned.overlap == pytest.approx(1 - 400 * np.tan(np.radians(5)) / 480, abs=0.12)
    assert turned.parallax < 0.15 * turned.motion, "a turn tells no depths"
    first = look_at(drive[0])
    moved = Follower(first).follow(look_at(drive[4]))
    assert moved.parallax > turned.parallax
    assert Follower(first).follow(first).is_none


def test_a_robot_that_stands_gives_one_image_however_long(
    drive: list[NDArray[np.uint8]],
) -> None:
    noise = np.random.default_rng(0)
    standing = [
        np.clip(drive[0] + noise.normal(0, 3, drive[0].shape), 0, 255).astype(np.uint8)
        for _ in range(5)
    ]
    found, choice = choose(ChoiceOptions(every=None, overlap=0.65), [*standing, *drive])
    assert seconds(found)[0] == 0
    assert seconds(found)[1] >= 6
    assert choice.passed[NOTHING_NEW] > 5
    # Each shows something new, and enough of what the one before it shows.
    assert 4 <= len(found) <= 14
    assert min(item.overlap for item in found) > 0.5


def test_by_way_and_turn_where_odometry_tells_them(drive: list[NDArray[np.uint8]]) -> None:
    places = [0.1 * i - 0.8 for i in range(17)]
    options = ChoiceOptions(distance=0.395, overlap=0.2)
    found, _ = choose(options, drive, places)
    assert seconds(found) == [0, 4, 8, 12, 16]
    # Wheels that spin on ice show nothing new, and neither do people before a robot that stands.
    spinning, _ = choose(options, [drive[0]] * 5, [0.0, 1.0, 2.0, 3.0, 4.0])
    assert seconds(spinning) == [0]
    passers_by, _ = choose(options, [drive[0], drive[8], drive[16]], [0.0, 0.0, 0.0])
    assert seconds(passers_by) == [0]


def test_an_image_that_shows_too_little_of_the_last_one_is_taken_whatever_the_way() -> None:
    turning = [image(0.0, yaw=6.0 * i) for i in range(6)]
    found, _ = choose(ChoiceOptions(distance=100, turn=np.inf, overlap=0.7), turning, [0.0] * 6)
    assert seconds(found) == [0], "odometry says that it stands"
    # Twelve degrees leave 0.82 of the view.
    found, _ = choose(
        ChoiceOptions(distance=100, overlap=0.8), turning, [15.0 * i for i in range(6)]
    )
    assert seconds(found)[:2] in ([0, 1], [0, 2])
    assert max(np.diff(seconds(found))) <= 3


def test_of_images_that_are_close_the_sharp_one_is_taken(drive: list[NDArray[np.uint8]]) -> None:
    places = [0.1 * i - 0.8 for i in range(17)]
    blurred = list(drive)
    for index in (4, 8, 9):
        blurred[index] = cv2.filter2D(drive[index], -1, BLUR)
    options = ChoiceOptions(distance=0.395, overlap=0.2)
    found, choice = choose(options, blurred, places)
    assert seconds(found)[:2] == [0, 5]
    assert not {4, 8, 9} & set(seconds(found))
    assert choice.passed[LESS_SHARP] >= 2
    assert not any(item.blurred for item in found)
    # Where all are blurred for long, the map must not be torn.
    for index in range(3, 9):
        blurred[index] = cv2.filter2D(drive[index], -1, BLUR)
    found, _ = choose(options, blurred, places)
    assert [item.blurred for item in found][:2] == [False, True]


def test_images_that_show_nothing_are_passed_over(drive: list[NDArray[np.uint8]]) -> None:
    dark = np.full_like(drive[0], 7)
    found, choice = choose(
        ChoiceOptions(every=None, overlap=0.65), [dark, drive[0], dark, dark, drive[16]]
    )
    assert seconds(found) == [1, 4]
    assert choice.passed[BLANK] == 3
