"""From matches to a pose: merging and RANSAC-PnP, ours and as published."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.aggregation import aggregate
from deviloc_ros.localization.pose import PoseHypothesis, estimate_pose
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.models.published import absolute_pose
from deviloc_ros.models.published.merging import Matches2D3D, merge
from deviloc_ros.models.published.settings import PublishedSettings


class PoseSolver(Protocol):
    """Merges the matches of a cluster of references (CPA) and estimates a pose from them."""

    def aggregate(self, matches: Correspondences, camera: Camera) -> Correspondences:
        """Merge the matches of all references of a cluster, one match a query cell."""
        ...

    def estimate_pose(self, matches: Correspondences, camera: Camera) -> PoseHypothesis | None:
        """Estimate the query's pose from merged matches; None where RANSAC found none."""
        ...

    def loss_scale(self, camera: Camera) -> float:
        """Return the scale of the Cauchy loss that poses are refined with, query pixels."""
        ...


class RobustSolver:
    """The localizer's own; thresholds grow with images beyond the working size."""

    def __init__(self, config: LocalizerConfig) -> None:
        """Use `aggregation.*` and `pose.*`."""
        self._config = config

    def aggregate(self, matches: Correspondences, camera: Camera) -> Correspondences:
        """Merge by the paper's equation."""
        settings = self._config.aggregation
        cell_size = settings.cell_size * self._pixel_scale(camera)
        return aggregate(matches, cell_size, settings.min_confidence)

    def estimate_pose(self, matches: Correspondences, camera: Camera) -> PoseHypothesis | None:
        """Estimate the pose by LO-RANSAC and refinement."""
        scale = self._pixel_scale(camera)
        return estimate_pose(matches, camera, self._config.pose, scale, self._config.seed)

    def loss_scale(self, camera: Camera) -> float:
        """Return `pose.loss_scale` in query pixels."""
        return self._config.pose.loss_scale * self._pixel_scale(camera)

    def _pixel_scale(self, camera: Camera) -> float:
        """Return query pixels per pixel of the working size."""
        return camera.reduction_to(self._config.features.max_size)


class PublishedSolver:
    """Merging and PnP as in the published code.

    Keypoints go to PnP as they are, half a network pixel low in COLMAP's pixel convention: so the
    published results were made. `behaviour: fix` does not do that.
    """

    def __init__(self, settings: PublishedSettings) -> None:
        """Use `topicfm.*`; lengths there are query pixels whatever the size of the image."""
        self._settings = settings

    def aggregate(self, matches: Correspondences, camera: Camera) -> Correspondences:
        """Merge in float32, in the order of the references."""
        merged = merge(
            Matches2D3D(
                torch.from_numpy(matches.keypoints).float(),
                torch.from_numpy(matches.points3d).float(),
                torch.from_numpy(matches.confidence).float(),
            ),
            self._settings.cell_size,
            self._settings.min_confidence,
        )
        return Correspondences(
            keypoints=_float64(merged.keypoints),
            points3d=_float64(merged.points),
            confidence=_float64(merged.confidence),
            reference=np.full(len(merged), -1, dtype=np.int64),
            reference_keypoints=np.full((len(merged), 2), np.nan),
        )

    def estimate_pose(self, matches: Correspondences, camera: Camera) -> PoseHypothesis | None:
        """Estimate the pose with the options of pycolmap 0.4.0."""
        pose = absolute_pose.estimate_pose(
            matches.keypoints, matches.points3d, camera, self._settings
        )
        if pose is None:
            return None
        projected = camera.project(pose.camera_from_map.apply(matches.points3d))
        return PoseHypothesis(pose.camera_from_map, pose.inliers, projected - matches.keypoints)

    def loss_scale(self, camera: Camera) -> float:
        """Return the published scale."""
        return absolute_pose.LOSS_SCALE


def _float64(values: torch.Tensor) -> NDArray[np.float64]:
    return np.asarray(values.double().numpy(), dtype=np.float64)
