"""What the stages of the method hand to each other."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class Features:
    """Dense local features of one image.

    Attributes:
        keypoints: (N, 2) float32 tensor, pixels of the original image, COLMAP convention.
        descriptors: (N, D) float32 tensor, as the network gives them (not of unit length).
        scales: (N,) float32 tensor, original pixels per pixel of the network's input.
        levels: (N,) uint8 tensor, which level of the image pyramid a keypoint comes from.
    """

    keypoints: torch.Tensor
    descriptors: torch.Tensor
    scales: torch.Tensor
    levels: torch.Tensor

    def __len__(self) -> int:
        """Return the number of keypoints."""
        return len(self.keypoints)


@dataclass(frozen=True)
class Query:
    """An image to be localized, and what was found in it.

    Attributes:
        features: dense local features.
        camera: intrinsics of the original image.
        image: (H, W) uint8, gray, original or reduced; None is enough for matcher xfeat.
    """

    features: Features
    camera: Camera
    image: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Correspondences:
    """2D-3D matches of one query.

    Attributes:
        keypoints: (N, 2) float64, query pixels, COLMAP convention.
        points3d: (N, 3) float64, map frame, metres (map units in a non-metric map).
        confidence: (N,) float64 in (0, 1], 1 for an observed SfM point.
        reference: (N,) int64, index of the reference image that gave the match (-1 after merging).
        reference_keypoints: (N, 2) float64, pixels of that reference image (NaN after merging).
        depth_sigma: (N,) float64, relative standard deviation of the point's depth in the
            reference; NaN where unknown. None after merging, or where depths are taken as true.
        guided: (N,) bool, which were looked for only near where a pose put them. They agree with
            that pose whether it is right or not, and are no evidence for it. None: none, or merged.
    """

    keypoints: NDArray[np.float64]
    points3d: NDArray[np.float64]
    confidence: NDArray[np.float64]
    reference: NDArray[np.int64]
    reference_keypoints: NDArray[np.float64]
    depth_sigma: NDArray[np.float64] | None = None
    guided: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Return the number of matches."""
        return len(self.keypoints)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Which matches (N,) were looked for in the whole image."""
        return np.ones(len(self), dtype=np.bool_) if self.guided is None else ~self.guided

    def select(self, index: NDArray[np.bool_] | NDArray[np.int64]) -> Correspondences:
        """Return the matches that a mask or an index array names."""
        # Rows are taken several times faster by number than by a mask.
        rows = np.flatnonzero(index) if index.dtype == np.bool_ else index
        return Correspondences(
            self.keypoints.take(rows, axis=0),
            self.points3d.take(rows, axis=0),
            self.confidence.take(rows),
            self.reference.take(rows),
            self.reference_keypoints.take(rows, axis=0),
            None if self.depth_sigma is None else self.depth_sigma.take(rows),
            None if self.guided is None else self.guided.take(rows),
        )


def concatenated(parts: Sequence[Correspondences]) -> Correspondences:
    """Return the matches of all parts; without any, none."""
    sigmas = [part.depth_sigma for part in parts if part.depth_sigma is not None]
    return Correspondences(
        keypoints=np.concatenate([np.zeros((0, 2)), *(part.keypoints for part in parts)]),
        points3d=np.concatenate([np.zeros((0, 3)), *(part.points3d for part in parts)]),
        confidence=np.concatenate([np.zeros(0), *(part.confidence for part in parts)]),
        reference=np.concatenate([np.zeros(0, np.int64), *(part.reference for part in parts)]),
        reference_keypoints=np.concatenate(
            [np.zeros((0, 2)), *(part.reference_keypoints for part in parts)]
        ),
        depth_sigma=np.concatenate(sigmas) if sigmas and len(sigmas) == len(parts) else None,
        guided=~np.concatenate([part.free for part in parts]) if parts else None,
    )


@dataclass(frozen=True)
class PosePrior:
    """An approximate pose of a body, known before its images are localized.

    The body is a camera, or the base of a robot.

    Attributes:
        map_from_body: the expected pose.
        position_sigma: standard deviation of the position per axis, metres.
        rotation_sigma: standard deviation of the orientation, radians.
        vertical_sigma: standard deviation along the map's z, metres; None: as the other axes.
        num_references: match with this many references near the pose; None: the configured number.
    """

    map_from_body: Transform
    position_sigma: float
    rotation_sigma: float
    vertical_sigma: float | None = None
    num_references: int | None = None

    @property
    def axis_sigmas(self) -> NDArray[np.float64]:
        """Standard deviations along the map's x, y and z, (3,), metres."""
        vertical = self.position_sigma if self.vertical_sigma is None else self.vertical_sigma
        return np.array([self.position_sigma, self.position_sigma, vertical])

    def of_camera(self, body_from_camera: Transform) -> PosePrior:
        """Return the prior of a camera on the body; a lever arm turns rotation into position."""
        lever = float(np.linalg.norm(body_from_camera.translation)) * self.rotation_sigma
        vertical = self.vertical_sigma
        return replace(
            self,
            map_from_body=self.map_from_body @ body_from_camera,
            position_sigma=float(np.hypot(self.position_sigma, lever)),
            vertical_sigma=None if vertical is None else float(np.hypot(vertical, lever)),
        )


class Way(enum.Enum):
    """How a query was matched with its references."""

    FAST = "fast"
    CONTEXT = "context"
    ALIKED = "aliked"


class FailureReason(enum.Enum):
    """Why there is no pose."""

    BAD_IMAGE = "the image is empty, too small, or its size is not the camera's"
    NO_REFERENCES = "no reference image of the map resembles the query, or none is near the prior"
    TOO_FEW_MATCHES = "too few 2D-3D matches to try a pose"
    NO_POSE = "RANSAC found no pose"
    TOO_FEW_INLIERS = "too few matches agree with the best pose"
    LOW_INLIER_RATIO = "too small a share of the matches agrees with the best pose"
    POOR_COVERAGE = "the inliers cover too small a part of the image to hold the pose"
    CHANCE = "so few independent parts of the image agree that it may be chance"
    AMBIGUOUS = "another place of the map explains the image nearly as well"
    AGAINST_PRIOR = "the pose contradicts the prior"
    UNCERTAIN = "the pose is not determined well enough: its covariance is too large"
    DAMAGED_MAP = (
        "the map's file was written over while in use, or a tile that the query needs is missing, "
        "damaged, or another one"
    )
    # What a robot's images can lack before the localizer sees them (robot/localize_frames.py):
    NO_CALIBRATION = "no camera_info has come yet"
    BAD_CALIBRATION = "the camera_info cannot be used, or is of another image size"
    NO_EXTRINSICS = "it is not known where the camera sits on the robot"
    INTERNAL_ERROR = "a fault of the node; the log has the details"


@dataclass(frozen=True)
class AlignmentEvidence:
    """What aligned matches tell beside the pose that rests on them.

    Attributes:
        num_aligned: how many were found in the pixels.
        light_change: how differently the light falls than in the references, by the contrast of
            patches (AlignedMatches): about 0.2 in the same light, 0.4 and more where the sun has
            moved.
        of_shared_error: (6, 6) float64, what an error of one pixel of the working size that matches
            share in the map's light adds to the covariance.
        of_light_error: (6, 6) float64, the same of an error that comes from another light.
    """

    num_aligned: int
    light_change: float
    of_shared_error: NDArray[np.float64]
    of_light_error: NDArray[np.float64]


@dataclass(frozen=True)
class PoseEstimate:
    """A verified pose of the query camera.

    Attributes:
        camera_from_map: the pose.
        covariance: (6, 6) float64 of map_from_camera: x, y, z (metres, map frame), then rotation
            about the map's fixed x, y, z axes (radians); the order of REP-103 and
            geometry_msgs/PoseWithCovariance.
        correspondences: the merged 2D-3D matches given to RANSAC-PnP.
        inliers: (N,) bool, which of them agree with the pose.
        matches: the matches before merging, each with the reference it comes from.
        references: names of the reference images used, best first.
        stage_seconds: wall time per stage, in order.
        alignment: result of the photometric alignment; None: the matches were not aligned.
        way: how the query was matched with its references.
    """

    camera_from_map: Transform
    covariance: NDArray[np.float64]
    correspondences: Correspondences
    inliers: NDArray[np.bool_]
    matches: Correspondences
    references: Sequence[str]
    stage_seconds: Mapping[str, float]
    alignment: AlignmentEvidence | None = None
    way: Way = Way.FAST

    @property
    def map_from_camera(self) -> Transform:
        """The camera's pose in the map frame."""
        return self.camera_from_map.inverse()

    @property
    def num_inliers(self) -> int:
        """Number of merged matches that agree with the pose."""
        return int(np.count_nonzero(self.inliers))

    @property
    def num_matches(self) -> int:
        """Number of merged matches."""
        return len(self.correspondences)

    @property
    def num_aligned(self) -> int:
        """Number of matches, aligned by their pixels, that the pose rests on."""
        return 0 if self.alignment is None else self.alignment.num_aligned


@dataclass(frozen=True)
class LocalizationFailure:
    """No pose, and why.

    Attributes:
        reason: the first check that failed.
        details: the measured value and the limit, for people.
        stage_seconds: wall time per stage that ran, in order.
        num_matches: merged 2D-3D matches, where the attempt came that far.
        num_inliers: inliers of the best rejected pose, where there was one.
        references: names of the reference images tried.
        way: how the query was matched with its references the last time.
    """

    reason: FailureReason
    details: str
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    num_matches: int = 0
    num_inliers: int = 0
    references: Sequence[str] = ()
    way: Way = Way.FAST

    def __str__(self) -> str:
        """Return the reason with its numbers."""
        return f"{self.reason.name}: {self.details}"


Localization = PoseEstimate | LocalizationFailure
