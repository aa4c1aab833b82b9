"""kapture, the format of Naver Labs Europe, which many data sets are distributed in.

https://github.com/naver/kapture/blob/main/kapture_format.adoc. The map is made of the kapture in
`mapping/` (or `training/`), the queries are the images of the one in `query/` (or `testing/`). Its
3D points and local features are not read: points are triangulated.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from deviloc_ros.benchmark.loaders.folder import check_images, chosen, first_folder, require
from deviloc_ros.benchmark.types import Benchmark, BenchmarkQuery, Place
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.datasets.lines import numbers, read_lines
from deviloc_ros.datasets.sparse_model import ObservingImage, SparseModel
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

TITLE = "kapture data set"
MAPPING, QUERY = ("mapping", "training"), ("query", "testing")
DATA = "sensors/records_data"
SENSOR_LINE = "sensor_device_id, name, sensor_type, [sensor_params]+"
POSE_LINE = "timestamp, device_id, qw, qx, qy, qz, tx, ty, tz"
RIG_LINE = "rig_device_id, sensor_device_id, qw, qx, qy, qz, tx, ty, tz"
RECORD_LINE = "timestamp, device_id, image_path"
HEADER = re.compile(r"# *kapture format: *(\d+)\.(\d+)")


@dataclass(frozen=True)
class Kapture:
    """The images of a kapture folder.

    Attributes:
        cameras: intrinsics of every image, by its path below `sensors/records_data`; images of
            cameras without intrinsics are not in it.
        poses: camera_from_map of those that have one.
        without_camera: names of images whose camera has no intrinsics.
    """

    cameras: Mapping[str, Camera]
    poses: Mapping[str, Transform]
    without_camera: Sequence[str]


def load_kapture(root: Path, wanted: Collection[str] | None = None) -> Benchmark:
    """Load a data set.

    Raises:
        InputError: the folder is not complete, or a file of it is wrong.
    """
    require(root, TITLE, [tuple(f"{n}/" for n in MAPPING), tuple(f"{n}/" for n in QUERY)])
    mapping, query = first_folder(root, *MAPPING), first_folder(root, *QUERY)
    files = ("sensors/sensors.txt", "sensors/records_camera.txt")
    require(mapping, TITLE, [*files, "sensors/trajectories.txt", f"{DATA}/"])
    require(query, TITLE, [*files, f"{DATA}/"])
    found = read_kapture(query)
    queries = [BenchmarkQuery(name, camera, name) for name, camera in sorted(found.cameras.items())]
    chosen(TITLE, root, [root.resolve().name], wanted)
    notes = [*check_images(TITLE, query / DATA, queries, str(query / files[1]))]
    if lost := found.without_camera:
        notes.append(f"{len(lost)} query images have no intrinsics ({lost[0]}, ...)")
    if not read_kapture(mapping).poses:
        raise InputError(
            f"{mapping / 'sensors/trajectories.txt'}: gives no image of records_camera.txt a pose"
        )
    place = Place(
        root.resolve().name,
        mapping / DATA,
        query / DATA,
        partial(_read, mapping),
        sorted((mapping / "sensors").glob("*.txt")),
        queries,
        {name: pose for name, pose in found.poses.items() if name in found.cameras},
    )
    return Benchmark("kapture", TITLE, [place], "{place}_poses.txt", notes=notes)


def read_kapture(folder: Path) -> Kapture:
    """Read sensors, images, and poses of cameras and of rigs.

    Raises:
        InputError: a file is missing or of another version, or a line of it is wrong.
    """
    _check_version(folder / "sensors" / "sensors.txt")
    sensors = _sensors(folder / "sensors" / "sensors.txt")
    rigs = _poses(folder / "sensors" / "rigs.txt", RIG_LINE)
    devices = _poses(folder / "sensors" / "trajectories.txt", POSE_LINE)
    cameras: dict[str, Camera] = {}
    poses: dict[str, Transform] = {}
    without = []
    for place, fields in _rows(folder / "sensors" / "records_camera.txt"):
        if len(fields) != 3:
            raise InputError(f"{place}: expected '{RECORD_LINE}', got {len(fields)} fields")
        stamp, device, name = fields
        if device not in sensors:
            raise InputError(f"{place}: sensors.txt has no camera {device!r}")
        camera = sensors[device]
        if camera is None:
            without.append(name)
            continue
        cameras[name] = camera
        pose = _device_pose(_key(stamp), device, devices, rigs)
        if pose is not None:
            poses[name] = pose
    return Kapture(cameras, poses, without)


def _device_pose(
    stamp: str,
    device: str,
    devices: Mapping[tuple[str, str], Transform],
    rigs: Mapping[tuple[str, str], Transform],
) -> Transform | None:
    """Return device_from_world at a stamp: its own, or that of the rig it is mounted on."""
    if (stamp, device) in devices:
        return devices[stamp, device]
    for (rig, mounted), device_from_rig in rigs.items():
        if mounted == device:
            rig_from_world = _device_pose(stamp, rig, devices, rigs)
            if rig_from_world is not None:
                return device_from_rig @ rig_from_world
    return None


def _check_version(path: Path) -> None:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            first = file.readline(200)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    found = HEADER.match(first)
    if found is None or found[1] != "1":
        raise InputError(
            f"{path}: the first line is {first.strip()[:40]!r}, expected '# kapture format: 1.1'"
        )


def _sensors(path: Path) -> Mapping[str, Camera | None]:
    """Return the cameras; None where the intrinsics are not known."""
    found: dict[str, Camera | None] = {}
    for place, fields in _rows(path):
        if len(fields) < 3:
            raise InputError(f"{place}: expected '{SENSOR_LINE}', got {len(fields)} fields")
        device, _, kind, *params = fields
        if kind != "camera":
            continue
        if params[:1] in ([], ["UNKNOWN_CAMERA"]):
            found[device] = None
            continue
        try:
            # Sizes are integers, which some writers give as 640.0.
            size = [str(round(value)) for value in numbers(place, params[1:3], SENSOR_LINE)]
            found[device] = Camera.parse(" ".join([params[0], *size, *params[3:]]))
        except InputError as error:
            raise InputError(f"{place}: {error}".replace(f"{place}: {place}", place)) from None
    return found


def _poses(path: Path, expected: str) -> Mapping[tuple[str, str], Transform]:
    """Return poses by the first two fields; nothing if there is no such file.

    A row without rotation or translation, which the format allows, is passed over.
    """
    poses: dict[tuple[str, str], Transform] = {}
    if not path.is_file():
        return poses
    for place, fields in _rows(path):
        if len(fields) != 9:
            raise InputError(f"{place}: expected '{expected}', got {len(fields)} fields")
        if not all(fields[2:]):
            continue
        values = numbers(place, fields[2:], expected)
        key = _key(fields[0]) if expected == POSE_LINE else fields[0]
        try:
            poses[key, fields[1]] = Transform.from_quaternion(values[:4], values[4:])
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
    return poses


def _key(stamp: str) -> str:
    """Return a stamp without leading zeros: the same integer may be written in two ways."""
    return stamp.lstrip("0") or "0"


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    for place, text in read_lines(path):
        yield place, [field.strip() for field in text.split(",")]


def _read(folder: Path) -> SparseModel:
    found = read_kapture(folder)
    nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
    return SparseModel(
        [
            ObservingImage(PosedImage(name, found.cameras[name], pose), *nothing)
            for name, pose in sorted(found.poses.items())
        ],
        {},
    )
