"""A raw sequence of the Oxford RobotCar data set: images by time stamp, calibration, poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.datasets.lines import read_lines
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import MAX_PIXELS
from deviloc_ros.messages.image import ENCODINGS
from deviloc_ros.robotcar.calibration import (
    BASE_FROM_VEHICLE,
    CameraModel,
    UndistortionTable,
    read_camera_model,
    read_extrinsics,
    read_table_of,
)
from deviloc_ros.robotcar.sensors import SENSORS, CalibrationFolders, Sensor, nanoseconds


@dataclass(frozen=True)
class RawCamera:
    """One camera of a raw sequence.

    Attributes:
        name: key of SENSORS.
        sensor: where its files are.
        model: intrinsics of its undistorted images.
        table: how they are made.
        camera: of the undistorted images.
        base_from_optical: where it sits on the car.
        stamps: (N,) int64, nanoseconds, of the images that are there, rising.
        num_missing: listed images without a file, such as those of chunks not downloaded.
    """

    name: str
    sensor: Sensor
    model: CameraModel
    table: UndistortionTable
    camera: Camera
    base_from_optical: Transform
    stamps: NDArray[np.int64]
    num_missing: int


class RawSequence:
    """A folder of a sequence; images are read one by one."""

    def __init__(
        self, folder: Path, calibration: CalibrationFolders, cameras: Sequence[str]
    ) -> None:
        """Read calibration and time stamps.

        Args:
            folder: of the sequence, such as 2014-11-28-12-07-13.
            calibration: where models and extrinsics are.
            cameras: keys of SENSORS.

        Raises:
            InputError: a file is missing or wrong.
        """
        self.folder = folder
        self.calibration = calibration
        self.cameras = {name: self._open(name) for name in cameras}

    def mosaic(self, camera: RawCamera, stamp: int) -> NDArray[np.uint8]:
        """Read an image as it is stored: a colour mosaic (H, W), distorted.

        Raises:
            InputError: the file cannot be read, or is not such an image.
        """
        return _read_mosaic(self.path(camera, stamp), (camera.camera.width, camera.camera.height))

    def image(self, camera: RawCamera, stamp: int) -> NDArray[np.uint8]:
        """Read an image (H, W, 3) RGB, in colour and undistorted.

        Raises:
            InputError: the file cannot be read, or is not such an image.
        """
        mosaic = self.mosaic(camera, stamp)
        colour = np.asarray(ENCODINGS[camera.sensor.bayer].convert(mosaic), dtype=np.uint8)
        return camera.table.undistort(colour)

    def path(self, camera: RawCamera, stamp: int) -> Path:
        """Return the file of an image."""
        return self.folder / camera.sensor.folder / f"{stamp // 1000}.png"

    def vehicle_from_ins(self) -> Transform:
        """Return where the INS sits.

        Raises:
            InputError: its extrinsics cannot be read.
        """
        return read_extrinsics(self.calibration.extrinsics / "ins.txt")

    def _open(self, name: str) -> RawCamera:
        sensor = SENSORS[name]
        listed = read_timestamps(self.folder / sensor.timestamps)
        images = self.folder / sensor.folder
        if not images.is_dir():
            raise InputError(f"{images}: no such folder; camera {name} has its images there")
        present = {path.stem for path in images.glob("*.png")}
        stamps = [stamp for stamp in listed if str(stamp // 1000) in present]
        if not stamps:
            raise InputError(f"{images}: holds none of the images that {sensor.timestamps} lists")
        first = images / f"{stamps[0] // 1000}.png"
        height, width = _read_mosaic(first).shape
        model = read_camera_model(self.calibration.models / f"{sensor.model}.txt")
        lut = self.calibration.models / f"{sensor.model}_distortion_lut.bin"
        camera_from_vehicle = read_extrinsics(
            self.calibration.extrinsics / f"{sensor.extrinsics}.txt"
        )
        vehicle_from_optical = camera_from_vehicle.inverse() @ model.camera_from_optical
        return RawCamera(
            name, sensor, model, read_table_of(lut, width, height), model.camera(width, height),
            BASE_FROM_VEHICLE @ vehicle_from_optical, np.array(stamps, dtype=np.int64),
            len(listed) - len(stamps),
        )  # fmt: skip


def read_timestamps(path: Path) -> Sequence[int]:
    """Read a .timestamps file, lines of "microseconds chunk": nanoseconds, rising, each once.

    Raises:
        InputError: it cannot be read, or a line of it is wrong.
    """
    stamps: list[int] = []
    for place, text in read_lines(path):
        stamp = nanoseconds(place, text.split()[0])
        if stamps and stamp < stamps[-1]:
            raise InputError(f"{place}: time stamp {text.split()[0]} is before the last one")
        if not stamps or stamp > stamps[-1]:
            stamps.append(stamp)
    if not stamps:
        raise InputError(f"{path}: holds no time stamp")
    return stamps


def _read_mosaic(path: Path, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except cv2.error:
        image = None
    if image is None or image.ndim != 2 or image.dtype != np.uint8 or image.size > MAX_PIXELS:
        raise InputError(f"{path}: is not a PNG of 8-bit raw (Bayer) pixels")
    height, width = image.shape
    if size is not None and (width, height) != size:
        raise InputError(
            f"{path}: is {width} x {height} pixels, the camera's others {size[0]} x {size[1]}"
        )
    return np.asarray(image)
