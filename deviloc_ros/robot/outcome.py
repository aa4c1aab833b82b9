"""What becomes of the images of one instant: a pose of the robot, or the reason for none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import FailureReason, LocalizationFailure, PoseEstimate, Way
from deviloc_ros.messages.image import Pixels
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.robot.frame_set import FrameSet

Estimate: TypeAlias = PoseEstimate | RigEstimate | LocalizationFailure
"""What a localizer says about the images of one instant."""


@dataclass(frozen=True)
class Refusal:
    """No pose, and why.

    Attributes:
        reason: which check failed.
        details: what was measured, for people.
    """

    reason: FailureReason
    details: str


@dataclass(frozen=True)
class Fix:
    """A verified pose of the robot.

    Attributes:
        pose: of the base frame, in the map frame.
        views: what each camera saw, by its name.
    """

    pose: BasePose
    views: Mapping[str, CameraView]

    @property
    def num_matches(self) -> int:
        """Merged 2D-3D matches of all cameras."""
        return sum(len(view.correspondences) for view in self.views.values())

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the reference images used, without repetition."""
        return tuple(
            dict.fromkeys(name for view in self.views.values() for name in view.references)
        )


@dataclass(frozen=True)
class Outcome:
    """What became of the images of one instant.

    Attributes:
        frames: the images.
        result: the pose of the base, or why there is none.
        estimate: what the localizer said; None where it was not asked.
        pixels: of the images that could be read, by camera.
        left_out: of a rig, cameras that had an image which could not be used, and why.
    """

    frames: FrameSet
    result: Fix | Refusal
    estimate: Estimate | None = None
    pixels: Mapping[str, Pixels] = field(default_factory=dict)
    left_out: Mapping[str, Refusal] = field(default_factory=dict)

    @property
    def stage_seconds(self) -> Mapping[str, float]:
        """The localizer's stages, wall time."""
        return self.estimate.stage_seconds if self.estimate is not None else {}

    @property
    def way(self) -> Way | None:
        """How the images were matched with their references; None: it did not come to that."""
        return self.estimate.way if self.estimate is not None else None

    @property
    def num_inliers(self) -> int:
        """Inliers of the pose, accepted or not."""
        return self.estimate.num_inliers if self.estimate is not None else 0

    @property
    def num_matches(self) -> int:
        """Merged 2D-3D matches of all cameras, of a pose accepted or not."""
        if isinstance(self.result, Fix):
            return self.result.num_matches
        return self.estimate.num_matches if isinstance(self.estimate, LocalizationFailure) else 0

    @property
    def references(self) -> tuple[str, ...]:
        """Names of the reference images that were tried, without repetition."""
        if isinstance(self.result, Fix):
            return self.result.references
        failure = self.estimate if isinstance(self.estimate, LocalizationFailure) else None
        return tuple(failure.references) if failure is not None else ()

    @property
    def cameras(self) -> Mapping[str, str]:
        """What each camera of a rig contributed, or why it did not; empty for a single camera."""
        told = {name: "no image" for name in self.frames.missing}
        told |= {name: refusal.reason.name for name, refusal in self.left_out.items()}
        if isinstance(self.result, Fix):
            told |= {
                name: f"{view.num_inliers} of {len(view.correspondences)}"
                for name, view in self.result.views.items()
                if name
            }
        return told
