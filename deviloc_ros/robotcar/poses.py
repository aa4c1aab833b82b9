"""Poses of a raw RobotCar sequence: INS or RTK (absolute), visual odometry (relative), GPS fixes.

Files and columns are those of the data set's documentation: gps/ins.csv, rtk.csv, vo/vo.csv and
gps/gps.csv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.lines import numbers
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.trajectory import Trajectory
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robotcar.calibration import BASE_FROM_VEHICLE, ENU_FROM_NED, from_xyz_rpy
from deviloc_ros.robotcar.sensors import nanoseconds, read_table

ABSOLUTE = ("timestamp", "northing", "easting", "down", "roll", "pitch", "yaw")
RELATIVE = (
    "source_timestamp", "destination_timestamp", "x", "y", "z", "roll", "pitch", "yaw"
)  # fmt: skip
FIX = ("timestamp", "latitude", "longitude", "altitude", "latitude_sigma", "longitude_sigma",
       "altitude_sigma")  # fmt: skip
GOOD_STATUS = "INS_SOLUTION_GOOD"


@dataclass(frozen=True)
class Odometry:
    """Visual odometry added up.

    Attributes:
        trajectory: odom_from_base.
        gaps: how often a step did not begin where the last one ended; there the poses stand still.
    """

    trajectory: Trajectory
    gaps: int


@dataclass(frozen=True)
class GpsFix:
    """A position by GPS.

    Attributes:
        stamp: nanoseconds.
        latitude: degrees.
        longitude: degrees.
        altitude: metres.
        sigma: standard deviations of north, east and up, metres.
    """

    stamp: int
    latitude: float
    longitude: float
    altitude: float
    sigma: tuple[float, float, float]


def read_absolute(path: Path, vehicle_from_ins: Transform) -> Trajectory:
    """Read an ins.csv or rtk.csv as enu_from_base, in UTM coordinates.

    Rows of an INS whose status is not "INS_SOLUTION_GOOD" are left out; of rows with the same time
    stamp the first one counts.

    Args:
        path: the file.
        vehicle_from_ins: where the INS sits on the car; RTK poses are the INS' too.

    Raises:
        InputError: the file or a row of it is wrong, or no row is left.
    """
    columns = (*ABSOLUTE, "ins_status") if _has_column(path, "ins_status") else ABSOLUTE
    stamps: list[int] = []
    rows: list[list[float]] = []
    for place, (time, *fields) in read_table(path, columns):
        stamp = nanoseconds(place, time)
        if len(columns) > len(ABSOLUTE) and fields.pop() != GOOD_STATUS:
            continue
        if stamps and stamp == stamps[-1]:
            continue
        if stamps and stamp < stamps[-1]:
            raise InputError(f"{place}: timestamp {time} is before the last one")
        stamps.append(stamp)
        rows.append(numbers(place, fields, ",".join(ABSOLUTE[1:])))
    if not rows:
        raise InputError(f"{path}: holds no pose (of status {GOOD_STATUS})")
    values = np.array(rows)
    ins_from_base = (BASE_FROM_VEHICLE @ vehicle_from_ins).inverse()
    enu_from_ins = ENU_FROM_NED.rotation * Rotation.from_euler("xyz", values[:, 3:])
    # scipy takes no read-only arrays, as the translation of a Transform is.
    lever = enu_from_ins.apply(np.array(ins_from_base.translation))
    positions = ENU_FROM_NED.apply(values[:, :3]) + lever
    stamp_array = np.array(stamps, dtype=np.int64)
    return Trajectory(stamp_array, positions, enu_from_ins * ins_from_base.rotation)


def read_odometry(path: Path) -> Odometry:
    """Read a vo.csv as odom_from_base; the odometry begins at the identity.

    A row is the pose of the vehicle at `source_timestamp` in its frame at `destination_timestamp`,
    the earlier of the two. Rows the other way round are turned.

    Raises:
        InputError: the file or a row of it is wrong, or there is no row.
    """
    stamps: list[int] = []
    poses: list[NDArray[np.float64]] = []
    gaps = 0
    turn = BASE_FROM_VEHICLE.matrix
    for place, (source, destination, *fields) in read_table(path, RELATIVE):
        later, earlier = nanoseconds(place, source), nanoseconds(place, destination)
        step = from_xyz_rpy(numbers(place, fields, ",".join(RELATIVE[2:])))
        if later == earlier:
            raise InputError(f"{place}: source_timestamp and destination_timestamp are equal")
        if later < earlier:
            later, earlier, step = earlier, later, step.inverse()
        if not stamps:
            stamps, poses = [earlier], [np.eye(4)]
        elif earlier < stamps[-1]:
            raise InputError(f"{place}: begins at {earlier // 1000}, before the last row's end")
        elif earlier > stamps[-1]:
            gaps += 1
            stamps.append(earlier)
            poses.append(poses[-1])
        stamps.append(later)
        poses.append(poses[-1] @ turn @ step.matrix @ turn.T)
    if not stamps:
        raise InputError(f"{path}: holds no row")
    stacked = np.array(poses)
    rotations = Rotation.from_matrix(stacked[:, :3, :3])
    stamp_array = np.array(stamps, dtype=np.int64)
    return Odometry(Trajectory(stamp_array, stacked[:, :3, 3], rotations), gaps)


def read_fixes(path: Path) -> Sequence[GpsFix]:
    """Read a gps.csv.

    Raises:
        InputError: the file or a row of it is wrong.
    """
    fixes = []
    for place, (time, *fields) in read_table(path, FIX):
        values = numbers(place, fields, ",".join(FIX[1:]))
        latitude, longitude, altitude, north, east, up = values
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 360):
            raise InputError(f"{place}: latitude {latitude:g}, longitude {longitude:g}: no place")
        stamp = nanoseconds(place, time)
        fixes.append(GpsFix(stamp, latitude, longitude, altitude, (north, east, up)))
    return fixes


def _has_column(path: Path, name: str) -> bool:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return name in file.readline(10_000)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
