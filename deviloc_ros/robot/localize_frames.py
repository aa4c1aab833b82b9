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
from deviloc_ros.localization.query import Admitted
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
from deviloc_ros.robot.frame_set import FrameSet
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

    def admit(self, images: Sequence[Pixels], cameras: Sequence[Camera]) -> Admitted:
        """Find the features of images, (H, W) gray or (H, W, 3) RGB."""

    def localize_admitted(
        self, admitted: Admitted, priors: Sequence[PosePrior | None] | None = None
    ) -> list[Localization]:
        """Return the poses of images, or why there is none."""

    def localize_admitted_rig(
        self,
        admitted: Admitted,
        base_from_camera: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate | LocalizationFailure:
        """Return the pose of the base that several cameras sit on, or why there is none."""


@dataclass(frozen=True)
class Seen:
    """The images of one instant with their features.

    Attributes:
        frames: the images.
        pixels: of those that could be read, by the camera's name: (H, W) or (H, W, 3), uint8.
        refused: those that cannot be localized, and why.
        cameras: intrinsics and optical_from_camera of those that can.
        admitted: their features, in the same order.
    """

    frames: FrameSet
    pixels: Mapping[str, Pixels]
    refused: Mapping[str, Refusal]
    cameras: Mapping[str, tuple[Camera, Transform]]
    admitted: Admitted


def localize_frames(
    frames: FrameSet,
    extrinsics: Extrinsics,
    localizer: ImageLocalizer,
    prior: PosePrior | None = None,
    read_pixels: Callable[[Any], Pixels] = pixels_from_message,
) -> Outcome:
    """Localize the images of one instant; see `see` and `localize_seen`."""
    return localize_seen(see(frames, localizer, read_pixels), extrinsics, localizer, prior)


def see(
    frames: FrameSet,
    localizer: ImageLocalizer,
    read_pixels: Callable[[Any], Pixels] = pixels_from_message,
) -> Seen:
    """Find the features of the images of one instant: what needs neither TF nor a prior.

    TF of an image's stamp comes later than the image, so that this time is not lost.

    Args:
        frames: the images.
        localizer: of the map.
        read_pixels: returns (H, W) gray or (H, W, 3) RGB, uint8, of `Frame.image`, or raises
            InputError.
    """
    pixels: dict[str, Pixels] = {}
    cameras: dict[str, tuple[Camera, Transform]] = {}
    refused: dict[str, Refusal] = {}
    for frame in frames.frames:
        try:
            pixels[frame.camera] = image = read_pixels(frame.image)
        except InputError as error:
            refused[frame.camera] = Refusal(FailureReason.BAD_IMAGE, str(error))
            continue
        try:
            cameras[frame.camera] = frame.calibration.of((image.shape[1], image.shape[0]))
        except NoCalibrationError as error:
            refused[frame.camera] = Refusal(FailureReason.NO_CALIBRATION, str(error))
        except InputError as error:
            refused[frame.camera] = Refusal(FailureReason.BAD_CALIBRATION, str(error))
    admitted = localizer.admit(
        [pixels[name] for name in cameras], [camera for camera, _ in cameras.values()]
    )
    return Seen(frames, pixels, refused, cameras, admitted)


def localize_seen(
    seen: Seen, extrinsics: Extrinsics, localizer: ImageLocalizer, prior: PosePrior | None = None
) -> Outcome:
    """Localize the images of one instant; those of a rig give one pose.

    Args:
        seen: the images.
        extrinsics: where the cameras sit.
        localizer: the one that found their features.
        prior: where the base is thought to be.
    """
    frames = seen.frames
    mounts: dict[str, Transform] = {}
    refused = dict(seen.refused)
    for frame in frames.frames:
        if frame.camera in seen.cameras:
            _, optical_from_camera = seen.cameras[frame.camera]
            try:
                base_from_optical = extrinsics.base_from_camera(frame, frames.stamp)
            except TransformUnavailableError as error:
                refused[frame.camera] = Refusal(FailureReason.NO_EXTRINSICS, str(error))
            else:
                mounts[frame.camera] = base_from_optical @ optical_from_camera
    left_out = refused if frames.of_rig else {}
    if not mounts:
        first = next(frame.camera for frame in frames.frames if frame.camera in refused)
        return Outcome(frames, refused[first], None, seen.pixels, left_out)
    places = [place for place, name in enumerate(seen.cameras) if name in mounts]
    locate = _of_rig if frames.of_rig else _of_camera
    estimate, result = locate(seen.admitted.only(places), mounts, localizer, prior)
    return Outcome(frames, result, estimate, seen.pixels, left_out)


def _of_camera(
    admitted: Admitted,
    mounts: Mapping[str, Transform],
    localizer: ImageLocalizer,
    prior: PosePrior | None,
) -> tuple[Estimate, Fix | Refusal]:
    [(name, base_from_camera)] = mounts.items()
    of_camera = prior.of_camera(base_from_camera) if prior is not None else None
    [estimate] = localizer.localize_admitted(admitted, [of_camera])
    if isinstance(estimate, LocalizationFailure):
        return estimate, Refusal(estimate.reason, estimate.details)
    pose = base_pose(estimate.map_from_camera, estimate.covariance, base_from_camera)
    view = CameraView(
        admitted.cameras[0],
        estimate.camera_from_map,
        estimate.correspondences,
        estimate.inliers,
        estimate.references,
    )
    return estimate, Fix(pose, {name: view})


def _of_rig(
    admitted: Admitted,
    mounts: Mapping[str, Transform],
    localizer: ImageLocalizer,
    prior: PosePrior | None,
) -> tuple[Estimate, Fix | Refusal]:
    estimate = localizer.localize_admitted_rig(admitted, list(mounts.values()), prior)
    if isinstance(estimate, LocalizationFailure):
        return estimate, Refusal(estimate.reason, estimate.details)
    pose = BasePose(estimate.map_from_base, estimate.covariance)
    return estimate, Fix(pose, dict(zip(mounts, estimate.views, strict=True)))
