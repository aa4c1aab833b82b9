"""A raw RobotCar sequence as a bag: images, calibration, transforms, odometry, truth, GPS."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.bags import types
from deviloc_ros.bags.chunks import Event
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.trajectory import Trajectory
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import to_gray
from deviloc_ros.robotcar.fisheye import fit_fisheye
from deviloc_ros.robotcar.poses import GpsFix
from deviloc_ros.robotcar.sequence import RawCamera, RawSequence
from deviloc_ros.robotcar.topics import (
    BASE,
    MAP,
    ODOM,
    UTM,
    image_events,
    optical_frame,
    truth_event,
)

MARGIN_NS = 1_000_000_000
"""Odometry and fixes are written this long before the first and after the last image."""


@dataclass(frozen=True)
class RawOptions:
    """How a raw sequence is written.

    Attributes:
        images: rgb or gray, undistorted; or raw, the mosaic as it is stored.
        begin: nanoseconds, of the first image wanted.
        end: first stamp not wanted.
        origin: (3,) of the map frame: UTM east, north and up, metres.
        jpeg: quality of compressed images; None: they are not compressed.
    """

    images: str
    begin: int
    end: int
    origin: tuple[float, float, float]
    jpeg: int | None = None


class RawRecording:
    """What of a raw sequence goes into a bag; see `bags.chunks.Recording`."""

    def __init__(
        self,
        sequence: RawSequence,
        options: RawOptions,
        odometry: Trajectory | None,
        truth: Trajectory | None,
        fixes: Sequence[GpsFix],
    ) -> None:
        """Choose what to write.

        Args:
            sequence: images and calibration.
            options: see `RawOptions`.
            odometry: odom_from_base, or None.
            truth: enu_from_base in UTM coordinates, or None.
            fixes: of GPS, may be empty.

        Raises:
            InputError: raw images are wanted, and no lens model describes their distortion.
        """
        self._sequence = sequence
        self._options = options
        self._odometry = odometry
        self._truth = truth
        self._fixes = fixes
        cameras = sequence.cameras.values()
        self._stamps = {
            camera.name: camera.stamps[
                (camera.stamps >= options.begin) & (camera.stamps < options.end)
            ]
            for camera in cameras
        }
        self._cameras: dict[str, Camera] = {
            camera.name: fit_fisheye(camera.model, camera.table, camera.name)
            if options.images == "raw"
            else camera.camera
            for camera in cameras
        }
        self.image_stamps: Sequence[int] = np.sort(
            np.concatenate(list(self._stamps.values()))
        ).tolist()

    @property
    def fingerprint(self) -> str:
        """Everything that the messages depend on, the images' own content aside."""
        extrinsics = {
            name: camera.base_from_optical.matrix.tolist()
            for name, camera in self._sequence.cameras.items()
        }
        tables = [
            float(camera.table.x.sum() + camera.table.y.sum())
            for camera in self._sequence.cameras.values()
        ]
        poses = [
            (len(item.stamps), float(item.positions.sum()))
            for item in (self._odometry, self._truth)
            if item is not None
        ]
        place = Path(self._sequence.folder).resolve()
        return repr((place, self._options, self._cameras, extrinsics, tables, poses,
                     len(self._fixes)))  # fmt: skip

    def events(self, begin: int, end: int) -> Iterator[Event]:
        """Yield the messages of [begin, end), ascending."""
        # The first and the last chunk also take what lies a little beyond the images.
        first = begin - MARGIN_NS if begin == self.image_stamps[0] else begin
        last = end + MARGIN_NS if end > self.image_stamps[-1] else end
        yield Event(first, "/tf_static", partial(self._static, first), latched=True)
        streams: list[Iterable[Event]] = [
            self._images(camera, begin, end) for camera in self._sequence.cameras.values()
        ]
        streams += [
            _moving(self._odometry, first, last),
            self._true_poses(begin, end),
            _fixes(self._fixes, first, last),
        ]
        yield from heapq.merge(*streams, key=lambda event: event.stamp)

    def _static(self, stamp: int) -> Any:
        utm_from_map = Transform(Rotation.identity(), np.array(self._options.origin))
        transforms = [*types.tf(stamp, UTM, MAP, utm_from_map).transforms]
        for name, camera in self._sequence.cameras.items():
            frame = optical_frame(name)
            transforms += types.tf(stamp, BASE, frame, camera.base_from_optical).transforms
        return types.message("tf2_msgs/msg/TFMessage", transforms=transforms)

    def _images(self, camera: RawCamera, begin: int, end: int) -> Iterator[Event]:
        stamps = self._stamps[camera.name]
        for stamp in stamps[(stamps >= begin) & (stamps < end)].tolist():
            yield from image_events(
                camera.name,
                self._cameras[camera.name],
                stamp,
                partial(self._pixels, camera, stamp),
                camera.sensor.bayer if self._options.images == "raw" else None,
                self._options.jpeg,
            )

    def _pixels(self, camera: RawCamera, stamp: int) -> NDArray[np.uint8]:
        if self._options.images == "raw":
            return self._sequence.mosaic(camera, stamp)
        image = self._sequence.image(camera, stamp)
        return to_gray(image) if self._options.images == "gray" else image

    def _true_poses(self, begin: int, end: int) -> Iterator[Event]:
        if self._truth is None:
            return
        chosen = np.unique(np.asarray(self.image_stamps))
        for stamp in chosen[(chosen >= begin) & (chosen < end)].tolist():
            utm_from_base = self._truth.at(stamp)
            if utm_from_base is not None:
                shift = utm_from_base.translation - np.array(self._options.origin)
                yield truth_event(stamp, Transform(utm_from_base.rotation, shift))


def _moving(odometry: Trajectory | None, begin: int, end: int) -> Iterator[Event]:
    if odometry is None:
        return
    first, after = np.searchsorted(odometry.stamps, [begin, end])
    for index in range(int(first), int(after)):
        stamp = int(odometry.stamps[index])
        pose = odometry[index]
        yield Event(stamp, "/tf", partial(types.tf, stamp, ODOM, BASE, pose))
        yield Event(stamp, "/odom", partial(types.odometry, stamp, ODOM, BASE, pose))


def _fixes(fixes: Sequence[GpsFix], begin: int, end: int) -> Iterator[Event]:
    for fix in fixes:
        if begin <= fix.stamp < end:
            yield Event(fix.stamp, "/gps/fix", partial(_nav_sat_fix, fix))


def _nav_sat_fix(fix: GpsFix) -> Any:
    north, east, up = (sigma**2 for sigma in fix.sigma)
    return types.message(
        "sensor_msgs/msg/NavSatFix",
        header=types.header(fix.stamp, "gps"),
        status=types.message("sensor_msgs/msg/NavSatStatus", status=0, service=1),
        latitude=fix.latitude,
        longitude=fix.longitude,
        altitude=fix.altitude,
        # Order of the message: east, north, up.
        position_covariance=np.diag([east, north, up]).ravel(),
        position_covariance_type=2,
    )
