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
    odom: str = Field("odom", description="odometry frame; empty: there is none")
    base: str = Field("base_link", min_length=1, description="frame whose pose is reported")
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
        "tf", description="tf looks base_from_camera up at the image's stamp"
    )
    translation: list[float] = Field(
        [0.0, 0.0, 0.0],
        description="with source parameters: the camera's origin in the base frame, x y z in m; "
        "of a rig three numbers a camera, in the order of `cameras`",
    )
    rotation: list[float] = Field(
        [0.0, 0.0, 0.0, 0.0],
        description="with source parameters: base_from_camera as a unit quaternion x y z w, the "
        "optical frame has z forward, x right; of a rig four numbers a camera",
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
        0.02, ge=0, le=1, description="stamps of one instant differ by no more, s"
    )
    timeout: float = Field(
        0.1, gt=0, le=2, description="wait this long for cameras that are late, s"
    )


class TrackingConfig(Section):
    """When the search is narrowed, and when it is widened."""

    enabled: bool = Field(
        True, description="search near the last pose, carried by odometry; needs frames.odom"
    )
    references: int = Field(
        3, ge=1, le=100, description="references per image while the prediction is good"
    )
    max_position_sigma: float = Field(
        2.0, gt=0, le=1e6, description="a prediction this uncertain takes K references again, m"
    )
    max_refusals: int = Field(
        2, ge=1, le=1000, description="refusals in a row near a prior, then the whole map"
    )


class PriorConfig(Section):
    """How far a prior is trusted; drift is a standard deviation."""

    min_position_sigma: float = Field(
        0.2, gt=0, le=1e6, description="no prior is taken to be better than this, m"
    )
    min_rotation_sigma: float = Field(
        0.05, gt=0, le=3.2, description="no prior is taken to be better than this, rad"
    )
    position_drift_per_metre: float = Field(
        0.05, ge=0, le=100, description="of odometry, m for each metre"
    )
    position_drift_per_second: float = Field(
        0.02, ge=0, le=100, description="of odometry, m for each second"
    )
    rotation_drift_per_radian: float = Field(
        0.05, ge=0, le=100, description="of odometry, rad for each radian"
    )
    rotation_drift_per_metre: float = Field(
        0.005, ge=0, le=100, description="of odometry, rad for each metre"
    )
    rotation_drift_per_second: float = Field(
        0.001, ge=0, le=100, description="of odometry, rad for each second"
    )
    file: str = Field(
        "", description="the last pose is saved here, also when the node stops; empty: nowhere"
    )
    save_period: float = Field(
        5.0, ge=0, le=3600, description="it is saved so often, s; 0: only when the node stops"
    )
    restore: bool = Field(False, description="begin near the pose in prior.file")
    restored_position_sigma: float = Field(
        1.0, gt=0, le=1e6, description="a restored pose is at least so uncertain, m"
    )
    restored_rotation_sigma: float = Field(
        0.3, gt=0, le=3.2, description="a restored pose is at least so uncertain, rad"
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

    enabled: bool = Field(False, description="take `fix` as a prior where nothing better is known")
    latitude: float = Field(0.0, ge=-90, le=90, description="of the map's origin, WGS 84, deg")
    longitude: float = Field(0.0, ge=-180, le=180, description="of the map's origin, deg")
    altitude: float = Field(
        0.0, ge=-1e4, le=1e5, description="of the map's origin, above the ellipsoid, m"
    )
    heading: float = Field(
        0.0, ge=-360, le=360, description="from east to the map's x axis, counter-clockwise, deg"
    )
    min_sigma: float = Field(
        3.0, gt=0, le=1e6, description="a fix is not taken to be better than this, m"
    )
    unknown_sigma: float = Field(
        15.0, gt=0, le=1e6, description="of a fix that does not tell its covariance, m"
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
