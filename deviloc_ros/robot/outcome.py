"""What becomes of the images of one instant: a pose of the robot, or the reason for none."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from deviloc_ros.localization.rig.types import CameraView
from deviloc_ros.localization.types import FailureReason, Way
from deviloc_ros.messages.image import Pixels
from deviloc_ros.robot.base_pose import BasePose
from deviloc_ros.robot.frame_set import FrameSet


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
        result: the pose, or why there is none.
        stage_seconds: the localizer's stages, wall time.
        num_inliers: inliers of the pose, accepted or not.
        pixels: of the images that could be read, by camera.
        left_out: of a rig, cameras that had an image which could not be used, and why.
        way: how the images were matched with their references; None: it did not come to that.
    """

    frames: FrameSet
    result: Fix | Refusal
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    num_inliers: int = 0
    pixels: Mapping[str, Pixels] = field(default_factory=dict)
    left_out: Mapping[str, Refusal] = field(default_factory=dict)
    way: Way | None = None

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
