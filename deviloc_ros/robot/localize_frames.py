"""What happens to the images of one instant: pixels, calibration, extrinsics, pose of the base.

The node and `deviloc bag` both localize by this function alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deviloc_ros.config import VerificationConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import (
    FailureReason,
    Localization,
    LocalizationFailure,
    PosePrior,
)
from deviloc_ros.messages.image import Pixels, pixels_from_message
from deviloc_ros.robot.base_pose import BasePose, base_pose
from deviloc_ros.robot.calibration import NoCalibrationError
from deviloc_ros.robot.extrinsics import Extrinsics
from deviloc_ros.robot.frame_set import Frame, FrameSet
from deviloc_ros.robot.outcome import Estimate, Fix, Outcome, Refusal
from deviloc_ros.robot.transform_buffer import TransformUnavailableError


class MapProperties(Protocol):
    """What a robot asks of a map."""

    @property
    def metric(self) -> bool:
        """Whether a unit of the map is a metre."""

    @property
    def gravity_aligned(self) -> bool:
        """Whether z is up."""


class ImageLocalizer(Protocol):
    """What the node, a bag and a folder of images ask of `deviloc_ros.localization.Localizer`."""

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

    def localize_batch(
        self,
        images: Sequence[Pixels],
        cameras: Sequence[Camera],
        priors: Sequence[PosePrior | None] | None = None,
        references: Sequence[Sequence[str] | None] | None = None,
    ) -> list[Localization]:
        """Return the same for several images that have nothing to do with each other.

        `references`: for each image, names of references that replace retrieval, or None.
        """

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


def localize_frames(
    frames: FrameSet,
    extrinsics: Extrinsics,
    localizer: ImageLocalizer,
    prior: PosePrior | None = None,
    read_pixels: Callable[[Any], Pixels] = pixels_from_message,
) -> Outcome:
    """Localize the images of one instant. Cheap checks come first.

    Args:
        frames: the images; those of a rig give one pose.
        extrinsics: where the cameras sit.
        localizer: of the map.
        prior: where the base is thought to be.
        read_pixels: returns (H, W) gray or (H, W, 3) RGB, uint8, of `Frame.image`, or raises
            InputError.
    """
    pixels: dict[str, Pixels] = {}
    views: dict[str, View] = {}
    refused: dict[str, Refusal] = {}
    for frame in frames.frames:
        try:
            pixels[frame.camera] = image = read_pixels(frame.image)
        except InputError as error:
            refused[frame.camera] = Refusal(FailureReason.BAD_IMAGE, str(error))
            continue
        view = _view(frame, frames.stamp, image, extrinsics)
        if isinstance(view, Refusal):
            refused[frame.camera] = view
        else:
            views[frame.camera] = view
    left_out = refused if frames.of_rig else {}
    if not views:
        return Outcome(frames, next(iter(refused.values())), None, pixels, left_out)
    locate = _of_rig if frames.of_rig else _of_camera
    estimate, result = locate(views, localizer, prior)
    return Outcome(frames, result, estimate, pixels, left_out)


def _view(frame: Frame, stamp: int, image: Pixels, extrinsics: Extrinsics) -> View | Refusal:
    """Return what the localizer needs of an image."""
    try:
        camera, optical_from_camera = frame.calibration.of((image.shape[1], image.shape[0]))
    except NoCalibrationError as error:
        return Refusal(FailureReason.NO_CALIBRATION, str(error))
    except InputError as error:
        return Refusal(FailureReason.BAD_CALIBRATION, str(error))
    try:
        base_from_optical = extrinsics.base_from_camera(frame, stamp)
    except TransformUnavailableError as error:
        return Refusal(FailureReason.NO_EXTRINSICS, str(error))
    return View(image, camera, base_from_optical @ optical_from_camera)


def _of_camera(
    views: Mapping[str, View], localizer: ImageLocalizer, prior: PosePrior | None
) -> tuple[Estimate, Fix | Refusal]:
    [(name, view)] = views.items()
    of_camera = prior.of_camera(view.base_from_camera) if prior is not None else None
    estimate = localizer.localize(view.pixels, view.camera, of_camera)
    if isinstance(estimate, LocalizationFailure):
        return estimate, Refusal(estimate.reason, estimate.details)
    pose = base_pose(estimate.map_from_camera, estimate.covariance, view.base_from_camera)
    seen = CameraView(
        view.camera,
        estimate.camera_from_map,
        estimate.correspondences,
        estimate.inliers,
        estimate.references,
    )
    return estimate, Fix(pose, {name: seen})


def _of_rig(
    views: Mapping[str, View], localizer: ImageLocalizer, prior: PosePrior | None
) -> tuple[Estimate, Fix | Refusal]:
    estimate = localizer.localize_rig(
        [view.pixels for view in views.values()],
        [view.camera for view in views.values()],
        [view.base_from_camera for view in views.values()],
        prior,
    )
    if isinstance(estimate, LocalizationFailure):
        return estimate, Refusal(estimate.reason, estimate.details)
    pose = BasePose(estimate.map_from_base, estimate.covariance)
    return estimate, Fix(pose, dict(zip(views, estimate.views, strict=True)))
