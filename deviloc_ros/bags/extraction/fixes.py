"""The satellite fixes of a bag, each beside the image that is nearest in time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.bags.reader import Bag, Recorded
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import frame_of
from deviloc_ros.robot.config import GnssConfig
from deviloc_ros.robot.gnss import SatelliteFixes
from deviloc_ros.robot.transform_buffer import TransformUnavailableError

MIN_SIGMA = 0.01
"""No receiver knows better, metres, whatever it says."""


def read_fixes(
    bag: Bag,
    topic: str,
    odometry: str | None,
    odom_frame: str,
    camera_frame: str,
    taken: Mapping[str, tuple[int, Transform]],
    tell: Callable[[str], object],
) -> list[PositionFix]:
    """Read fixes and where along the odometry each was had.

    The antenna is where the transforms have the frame of its messages. If they do not have it, it
    is taken to be at the camera, which is told.

    Args:
        bag: opened.
        topic: of sensor_msgs/NavSatFix.
        odometry: topic of nav_msgs/Odometry that takes the place of /tf.
        odom_frame: the odometry frame.
        camera_frame: the camera's optical frame.
        taken: stamp in nanoseconds and odom_from_camera of every image, by name; not empty.
        tell: takes a line for people.

    Raises:
        InputError: the bag is damaged.
    """
    names = sorted(taken, key=lambda name: taken[name][0])
    stamps = np.array([taken[name][0] for name in names], dtype=np.int64)
    transforms = BagTransforms(bag, odometry, tell=tell)
    # The antenna's place is known here, so that a fix may be as good as it says.
    reader = SatelliteFixes(GnssConfig(min_sigma=MIN_SIGMA))
    fixes: list[PositionFix] = []
    refused: list[str] = []

    def refuse(_: Recorded, error: InputError) -> None:
        refused.append(str(error))

    at_camera = False
    for recorded, message in bag.read([topic], refuse):
        transforms.advance(recorded.stamp)
        try:
            fix = reader.read(message)
        except InputError as error:
            refused.append(f"{topic}: {error}")
            continue
        if fix is None:
            continue
        frame = frame_of(message.header.frame_id)
        if not transforms.connected(odom_frame, frame):
            frame, at_camera = camera_frame, True
        try:
            antenna = transforms.lookup(odom_frame, frame, fix.stamp).translation
        except TransformUnavailableError as error:
            refused.append(f"{topic}: a fix cannot be placed along the odometry: {error}")
            continue
        name = names[int(np.abs(stamps - fix.stamp).argmin())]
        offset = taken[name][1].inverse().apply(antenna)
        plane, height = fix.position_sigma, fix.vertical_sigma
        sigmas = np.array([plane, plane, plane if height is None else height])
        fixes.append(PositionFix(name, _place(message), sigmas, np.asarray(offset)))
    if at_camera:
        tell(f"{topic}: transforms do not have its frame; the antenna is taken to be at the camera")
    if refused:
        tell(f"fixes that are not used: {len(refused)}, the first: {refused[0]}")
    return fixes


def _place(message: Any) -> NDArray[np.float64]:
    altitude = message.altitude if math.isfinite(message.altitude) else 0.0
    return np.array([message.latitude, message.longitude, altitude], dtype=np.float64)


def line_of(fix: PositionFix) -> str:
    """Return a line of fixes.txt, as datasets/fixes.py describes it."""
    values = np.concatenate([fix.place, fix.sigmas, fix.from_camera])
    return " ".join([fix.image, *(repr(float(value)) for value in values)])
