"""What happens to the images of one instant: pixels, calibration, extrinsics, pose of the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from deviloc_ros.config import VerificationConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import (
    FailureReason,
    Localization,
    LocalizationFailure,
    PoseEstimate,
    PosePrior,
)
from deviloc_ros.messages.image import Pixels
from deviloc_ros.robot.base_pose import BasePose, base_pose
from deviloc_ros.robot.frame_set import Frame, FrameSet
from deviloc_ros.robot.outcome import Fix, NodeRefusal, Outcome, Refusal
from deviloc_ros.robot.transform_buffer import TransformUnavailableError
from deviloc_ros.ros.inputs.camera_input import CameraInput, NoCalibrationError
from deviloc_ros.ros.inputs.extrinsics import Extrinsics


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

    def warm_up(self, num_images: int = 1) -> None:
        """Compile what up to so many images at a time need."""

    def set_verification(self, config: VerificationConfig) -> None:
        """Take other limits from the next image on."""

    def localize(
        self, image: Pixels, camera: Camera, prior: PosePrior | None = None
    ) -> Localization:
        """Return the pose of an image, (H, W) gray or (H, W, 3) RGB, or why there is none."""

    def localize_rig(
        self,
        images: Sequence[Pixels],
        cameras: Sequence[Camera],
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        """Return the pose of the base that several cameras sit on, or why there is none."""


@dataclass(frozen=True)
class View:
    """An image that can be localized.

    Attributes:
        pixels: (H, W) gray or (H, W, 3) RGB, uint8.
        camera: its intrinsics.
        base_from_camera: where the camera sits on the robot.
    """

    pixels: Pixels
    camera: Camera
    base_from_camera: Transform


def process(
    frames: FrameSet,
    inputs: Mapping[str, CameraInput],
    extrinsics: Extrinsics,
    localizer: ImageLocalizer,
    prior: PosePrior | None = None,
) -> Outcome:
    """Localize the images of one instant. Cheap checks come first.

    Args:
        frames: the images.
        inputs: all cameras of the robot, by name; with more than one it is localized as a rig.
        extrinsics: where the cameras sit.
        localizer: of the map.
        prior: where the base is thought to be.
    """
    pixels: dict[str, Pixels] = {}
    views: dict[str, View] = {}
    refused: dict[str, Refusal] = {}
    for frame in frames.frames:
        view = _view(frame, frames.stamp, inputs[frame.camera], extrinsics, pixels)
        if isinstance(view, Refusal):
            refused[frame.camera] = view
        else:
            views[frame.camera] = view
    if not views:
        first = next(iter(refused.values()))
        return Outcome(frames, first, pixels=pixels, left_out=refused if len(inputs) > 1 else {})
    if len(inputs) == 1:
        [(name, view)] = views.items()
        return _localize_image(frames, name, view, localizer, prior)
    estimate = localizer.localize_rig(
        [view.pixels for view in views.values()],
        [view.camera for view in views.values()],
        [view.base_from_camera for view in views.values()],
        prior,
    )
    stages, count = estimate.stage_seconds, estimate.num_inliers
    result: Fix | Refusal
    if isinstance(estimate, LocalizationFailure):
        result = Refusal(estimate.reason, estimate.details)
    else:
        pose = BasePose(estimate.map_from_base, estimate.covariance)
        result = Fix(pose, dict(zip(views, estimate.views, strict=True)))
    return Outcome(frames, result, stages, count, pixels, refused, estimate.way)


def _view(
    frame: Frame,
    stamp: int,
    camera_input: CameraInput,
    extrinsics: Extrinsics,
    pixels: dict[str, Pixels],
) -> View | Refusal:
    """Return what the localizer needs of a frame, whose pixels are put down on the way."""
    try:
        pixels[frame.camera] = image = camera_input.pixels(frame)
    except InputError as error:
        return Refusal(FailureReason.BAD_IMAGE, str(error))
    try:
        camera, optical_from_camera = camera_input.calibration(image)
    except NoCalibrationError as error:
        return Refusal(NodeRefusal.NO_CALIBRATION, str(error))
    except InputError as error:
        return Refusal(NodeRefusal.BAD_CALIBRATION, str(error))
    try:
        base_from_optical = extrinsics.base_from_camera(frame, stamp)
    except TransformUnavailableError as error:
        return Refusal(NodeRefusal.NO_EXTRINSICS, str(error))
    return View(image, camera, base_from_optical @ optical_from_camera)


def _localize_image(
    frames: FrameSet,
    name: str,
    view: View,
    localizer: ImageLocalizer,
    prior: PosePrior | None,
) -> Outcome:
    of_camera = prior.of_camera(view.base_from_camera) if prior is not None else None
    estimate = localizer.localize(view.pixels, view.camera, of_camera)
    result: Fix | Refusal
    if isinstance(estimate, PoseEstimate):
        pose = base_pose(estimate.map_from_camera, estimate.covariance, view.base_from_camera)
        seen = CameraView(
            view.camera,
            estimate.camera_from_map,
            estimate.correspondences,
            estimate.inliers,
            estimate.references,
        )
        result = Fix(pose, {name: seen})
    else:
        result = Refusal(estimate.reason, estimate.details)
    stages, count = estimate.stage_seconds, estimate.num_inliers
    return Outcome(frames, result, stages, count, {name: view.pixels}, way=estimate.way)
