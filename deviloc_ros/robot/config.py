"""The configuration of a robot, live or from a bag: the localizer's keys, cameras, frames, priors.

The node's schema (`ros/config/node_config.py`) extends it by what only a ROS graph needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from deviloc_ros.config import LocalizerConfig, Section
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.robot.carried_pose import Drift

ONE_CAMERA = ("",)
"""The value of `cameras` for a single camera, on `image` and `camera_info`."""


def _as_word(value: object) -> object:
    """Return what YAML makes of an unquoted yes or no as it was written."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


Rectified = Annotated[Literal["auto", "yes", "no"], BeforeValidator(_as_word)]
"""Whether images are rectified; auto: the topic's name decides."""


class FrameConfig(Section):
    """Names of coordinate frames (REP-105)."""

    map: str = Field("map", min_length=1, description="frame of the map")
    odom: str = Field("odom", description="odometry frame; empty: no odometry")
    base: str = Field("base_link", min_length=1, description="frame whose pose is published")
    camera: str = Field(
        "", description="optical frame of the camera; empty: the frame_id of the images"
    )


class RectifiedConfig(Section):
    """What the images are."""

    rectified: Rectified = Field(
        "auto",
        description="images are rectified, so P of camera_info holds; auto: if the topic's name "
        "has the word `rect` or `rectified`, as `image_rect_color` has",
    )


class ExtrinsicsConfig(Section):
    """Where the cameras sit on the robot."""

    source: Literal["tf", "parameters"] = Field(
        "tf", description="source of base_from_camera; tf: looked up at the image's stamp"
    )
    translation: list[float] = Field(
        [0.0, 0.0, 0.0],
        description="with source parameters: origin of the camera in the base frame, x y z in m; "
        "for a rig three numbers per camera, in the order of `cameras`",
    )
    rotation: list[float] = Field(
        [0.0, 0.0, 0.0, 0.0],
        description="with source parameters: base_from_camera as a unit quaternion x y z w, the "
        "optical frame has z forward, x right; for a rig four numbers per camera",
    )

    def mounts(self, cameras: Sequence[str]) -> dict[str, Transform]:
        """Return base_from_camera by name.

        Raises:
            ValueError: there are not as many numbers as the cameras need, or no unit quaternions.
        """
        result = {}
        for key, values, size in (
            ("translation", self.translation, 3),
            ("rotation", self.rotation, 4),
        ):
            if len(values) != size * len(cameras):
                raise ValueError(
                    f"extrinsics.{key} has {len(values)} numbers; {len(cameras)} camera(s) need "
                    f"{size * len(cameras)}"
                )
        rotations = np.reshape(self.rotation, (-1, 4))
        translations = np.reshape(self.translation, (-1, 3))
        for name, quaternion, translation in zip(cameras, rotations, translations, strict=True):
            if not abs(np.sum(quaternion**2) - 1) < 1e-3:
                of_camera = f" for camera {name}" if name else ""
                raise ValueError(
                    "source parameters needs extrinsics.rotation, a unit quaternion x y z w; it "
                    f"is {quaternion.tolist()}{of_camera}"
                )
            x, y, z, w = quaternion
            result[name] = Transform.from_quaternion((w, x, y, z), translation)
        return result


class SyncConfig(Section):
    """Which images of a rig are of one instant."""

    tolerance: float = Field(
        0.02, ge=0, le=1, description="maximum difference of the stamps in one set, s"
    )
    timeout: float = Field(0.1, gt=0, le=2, description="maximum time to wait for late images, s")


class TrackingConfig(Section):
    """When the search is narrowed, and when it is widened."""

    enabled: bool = Field(
        True, description="search near the pose predicted by odometry; needs frames.odom"
    )
    references: int = Field(
        3, ge=1, le=100, description="number of references per image while tracking"
    )
    max_position_sigma: float = Field(
        2.0,
        gt=0,
        le=1e6,
        description="with a less certain prediction K references are used again, m",
    )
    max_refusals: int = Field(
        2,
        ge=1,
        le=1000,
        description="consecutive refusals near a prior before the whole map is searched",
    )


class PriorConfig(Section):
    """How far a prior is trusted; drift is a standard deviation."""

    min_position_sigma: float = Field(
        0.2, gt=0, le=1e6, description="minimum standard deviation of a prior's position, m"
    )
    min_rotation_sigma: float = Field(
        0.05, gt=0, le=3.2, description="minimum standard deviation of a prior's orientation, rad"
    )
    position_drift_per_metre: float = Field(
        0.05, ge=0, le=100, description="drift of odometry, m for each metre"
    )
    position_drift_per_second: float = Field(
        0.02, ge=0, le=100, description="drift of odometry, m for each second"
    )
    rotation_drift_per_radian: float = Field(
        0.05, ge=0, le=100, description="drift of odometry, rad for each radian"
    )
    rotation_drift_per_metre: float = Field(
        0.005, ge=0, le=100, description="drift of odometry, rad for each metre"
    )
    rotation_drift_per_second: float = Field(
        0.001, ge=0, le=100, description="drift of odometry, rad for each second"
    )
    file: str = Field(
        "", description="file for the last pose, saved also when the node stops; empty: not saved"
    )
    save_period: float = Field(
        5.0, ge=0, le=3600, description="period of saving it, s; 0: only when the node stops"
    )
    restore: bool = Field(False, description="start with the pose in prior.file as prior")
    restored_position_sigma: float = Field(
        1.0, gt=0, le=1e6, description="minimum standard deviation of a restored position, m"
    )
    restored_rotation_sigma: float = Field(
        0.3, gt=0, le=3.2, description="minimum standard deviation of a restored orientation, rad"
    )

    @model_validator(mode="after")
    def _complete(self) -> PriorConfig:
        if self.restore and not self.file:
            raise ValueError("restore needs prior.file, where the last pose is saved; it is empty")
        return self

    @property
    def drift(self) -> Drift:
        """Of the odometry."""
        return Drift(
            self.position_drift_per_metre,
            self.position_drift_per_second,
            self.rotation_drift_per_radian,
            self.rotation_drift_per_metre,
            self.rotation_drift_per_second,
        )


class GnssConfig(Section):
    """Satellite positions as priors, in a map whose place on the earth is known."""

    enabled: bool = Field(False, description="use `fix` as a prior if no pose is known")
    latitude: float = Field(
        0.0, ge=-90, le=90, description="latitude of the map's origin, WGS 84, deg"
    )
    longitude: float = Field(0.0, ge=-180, le=180, description="longitude of the map's origin, deg")
    altitude: float = Field(
        0.0, ge=-1e4, le=1e5, description="altitude of the map's origin above the ellipsoid, m"
    )
    heading: float = Field(
        0.0,
        ge=-360,
        le=360,
        description="angle from east to the map's x axis, counter-clockwise, deg",
    )
    min_sigma: float = Field(
        3.0, gt=0, le=1e6, description="minimum standard deviation of a fix, m"
    )
    unknown_sigma: float = Field(
        15.0, gt=0, le=1e6, description="standard deviation of a fix without covariance, m"
    )


class RobotConfig(LocalizerConfig):
    """The localizer's keys, and what else turns images of a robot's cameras into its pose."""

    cameras: list[str] = Field(
        [""],
        description="names of the cameras of a rig, on `<name>/image` and `<name>/camera_info`; "
        "one empty name: a single camera on `image` and `camera_info`",
    )
    frames: FrameConfig = FrameConfig()
    image: RectifiedConfig = RectifiedConfig()
    extrinsics: ExtrinsicsConfig = ExtrinsicsConfig()
    sync: SyncConfig = SyncConfig()
    tracking: TrackingConfig = TrackingConfig()
    prior: PriorConfig = PriorConfig()
    gnss: GnssConfig = GnssConfig()

    @model_validator(mode="after")
    def _cameras_fit(self) -> RobotConfig:
        check_cameras(self.cameras, self.extrinsics, self.frames.camera)
        return self


def check_cameras(cameras: Sequence[str], extrinsics: ExtrinsicsConfig, camera_frame: str) -> None:
    """Refuse names of cameras that are no topics, and parameters that do not fit them.

    Args:
        cameras: their names.
        extrinsics: where they sit.
        camera_frame: `frames.camera`.

    Raises:
        ValueError: with what would be right.
    """
    rig = tuple(cameras) != ONE_CAMERA
    wrong = [name for name in cameras if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name)]
    if rig and (wrong or len(set(cameras)) != len(cameras) or not cameras):
        raise ValueError(
            f"cameras = {cameras}: names must differ and be made of letters, digits and _, letters "
            'first; [""] is a single camera on `image`'
        )
    if rig and camera_frame:
        raise ValueError(
            f"frames.camera = {camera_frame!r} holds for a single camera; the frames of a rig are "
            "the frame_id of its images"
        )
    if extrinsics.source == "parameters":
        extrinsics.mounts(cameras)
