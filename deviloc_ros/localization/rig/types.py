"""What goes into and comes out of localizing several cameras that are fixed to one body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import Correspondences, Way


@dataclass(frozen=True)
class CameraView:
    """What one camera saw of the map.

    Attributes:
        camera: its intrinsics.
        camera_from_map: its pose.
        correspondences: its merged 2D-3D matches; there may be none.
        inliers: (N,) bool, which of them agree with the pose.
        references: names of the reference images used, best first.
    """

    camera: Camera
    camera_from_map: Transform
    correspondences: Correspondences
    inliers: NDArray[np.bool_]
    references: Sequence[str]

    @property
    def num_inliers(self) -> int:
        """Number of merged matches that agree with the pose."""
        return int(np.count_nonzero(self.inliers))


@dataclass(frozen=True)
class RigEstimate:
    """A verified pose of the body that the cameras sit on.

    Attributes:
        map_from_base: the pose.
        covariance: (6, 6) float64 of map_from_base: x, y, z (metres, map frame), then rotation
            about the map's fixed x, y, z axes (radians), as geometry_msgs/PoseWithCovariance.
        views: what each camera contributed, in the order the cameras were given.
        stage_seconds: wall time per stage, in order.
        way: how the images were matched with their references.
    """

    map_from_base: Transform
    covariance: NDArray[np.float64]
    views: Sequence[CameraView]
    stage_seconds: Mapping[str, float]
    way: Way = Way.FAST

    @property
    def num_inliers(self) -> int:
        """Inliers of all cameras."""
        return sum(view.num_inliers for view in self.views)

    @property
    def num_matches(self) -> int:
        """Merged matches of all cameras."""
        return sum(len(view.correspondences) for view in self.views)
