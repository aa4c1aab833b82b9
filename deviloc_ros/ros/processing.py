"""What happens to one image: pixels, calibration, extrinsics, localization, pose of the base."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.base_pose import BasePose, base_pose
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform_buffer import TransformUnavailableError
from deviloc_ros.localization.types import (
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.messages.image import Pixels
from deviloc_ros.ros.camera_input import CameraInput, Frame, NoCalibrationError
from deviloc_ros.ros.extrinsics import Extrinsics


class MapProperties(Protocol):
    """What the node asks of a map."""

    @property
    def metric(self) -> bool:
        """Whether a unit of the map is a metre."""

    @property
    def gravity_aligned(self) -> bool:
        """Whether z is up."""


class ImageLocalizer(Protocol):
    """What the node asks of `deviloc_ros.localization.Localizer`."""

    @property
    def map(self) -> MapProperties:
        """The map."""

    def localize(
        self, image: Pixels, camera: Camera, prior: PosePrior | None = None
    ) -> PoseEstimate | LocalizationFailure:
        """Return the pose of an image, (H, W) gray or (H, W, 3) RGB, or why there is none."""


class NodeRefusal(enum.Enum):
    """Why an image gave no pose before the localizer saw it, or after it stumbled."""

    NO_CALIBRATION = "no camera_info has come yet"
    BAD_CALIBRATION = "the camera_info cannot be used, or is of another image size"
    NO_EXTRINSICS = "it is not known where the camera sits on the robot"
    INTERNAL_ERROR = "a fault of the node; the log has the details"


@dataclass(frozen=True)
class Refusal:
    """No pose, and why.

    Attributes:
        reason: which check failed, the localizer's or the node's.
        details: what was measured, for people.
    """

    reason: FailureReason | NodeRefusal
    details: str


@dataclass(frozen=True)
class Fix:
    """A verified pose of the robot.

    Attributes:
        estimate: the localizer's result for the camera.
        camera: the intrinsics that were used.
        pose: of the base frame, in the map frame.
    """

    estimate: PoseEstimate
    camera: Camera
    pose: BasePose


@dataclass(frozen=True)
class Outcome:
    """What became of a frame.

    Attributes:
        frame: the image.
        result: the pose, or why there is none.
        stage_seconds: the localizer's stages, wall time.
        num_inliers: inliers of the pose, accepted or not.
        pixels: of the image, where they could be read.
    """

    frame: Frame
    result: Fix | Refusal
    stage_seconds: dict[str, float] = field(default_factory=dict)
    num_inliers: int = 0
    pixels: Pixels | None = None


def process(
    frame: Frame, camera_input: CameraInput, extrinsics: Extrinsics, localizer: ImageLocalizer
) -> Outcome:
    """Localize one image. Cheap checks come first: an image without extrinsics costs nothing."""
    try:
        pixels = camera_input.pixels(frame)
    except InputError as error:
        return Outcome(frame, Refusal(FailureReason.BAD_IMAGE, str(error)))
    try:
        camera, optical_from_camera = camera_input.calibration(pixels)
    except NoCalibrationError as error:
        return Outcome(frame, Refusal(NodeRefusal.NO_CALIBRATION, str(error)), pixels=pixels)
    except InputError as error:
        return Outcome(frame, Refusal(NodeRefusal.BAD_CALIBRATION, str(error)), pixels=pixels)
    try:
        base_from_optical = extrinsics.base_from_camera(frame.frame_id, frame.stamp)
    except TransformUnavailableError as error:
        return Outcome(frame, Refusal(NodeRefusal.NO_EXTRINSICS, str(error)), pixels=pixels)
    estimate = localizer.localize(pixels, camera)
    stages = dict(estimate.stage_seconds)
    if isinstance(estimate, LocalizationFailure):
        refusal = Refusal(estimate.reason, estimate.details)
        return Outcome(frame, refusal, stages, estimate.num_inliers, pixels)
    pose = base_pose(
        estimate.map_from_camera, estimate.covariance, base_from_optical @ optical_from_camera
    )
    fix = Fix(estimate, camera, pose)
    return Outcome(frame, fix, stages, estimate.num_inliers, pixels)
