"""Images localized in a map, with the map's SfM points that they were found to see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import PoseEstimate, Query

# Fewer points would say too little of what an image and the map's images see together.
MIN_SEEN_POINTS = 10


@dataclass(frozen=True)
class Registered:
    """An image that was localized in a map.

    Attributes:
        camera_from_map: its pose.
        position_covariance: (3, 3) float64 of its position, map units squared.
        references: (K,) int64, indices of the references that its pose rests on, best first.
        points: (M,) int32, indices of SfM points of the map that it sees.
        pixels: (M, 2) float64, where.
    """

    camera_from_map: Transform
    position_covariance: NDArray[np.float64]
    references: NDArray[np.int64]
    points: NDArray[np.int32]
    pixels: NDArray[np.float64]

    @property
    def position_sigma(self) -> float:
        """Standard deviation of the position in space, map units."""
        return float(np.sqrt(np.trace(self.position_covariance)))


def register(
    localizer: Localizer, query: Query, excluded: NDArray[np.int64] | None = None
) -> Registered | str:
    """Localize an image in a map; return the reason where that fails.

    Args:
        localizer: with the map.
        query: the image.
        excluded: references that are not used.
    """
    result = localizer.localize_query(query, excluded=excluded)
    if not isinstance(result, PoseEstimate):
        return f"cannot be localized in the map: {result.reason.value} ({result.details})"
    points, pixels = _seen_points(localizer, query, result)
    used = np.unique(result.matches.reference[_agreeing(localizer, query, result)])
    of_name = {localizer.map.references[i].name: int(i) for i in used}
    ordered = [of_name[name] for name in result.references if name in of_name]
    return Registered(
        result.camera_from_map,
        result.covariance[:3, :3],
        np.array(ordered, dtype=np.int64),
        points,
        pixels,
    )


def _agreeing(localizer: Localizer, query: Query, result: PoseEstimate) -> NDArray[np.bool_]:
    """Return which of the matches (N,) agree with the pose."""
    config, matches = localizer.config, result.matches
    limit = config.pose.max_reprojection_error * query.camera.reduction_to(config.features.max_size)
    in_camera = result.camera_from_map.apply(matches.points3d)
    with np.errstate(invalid="ignore"):
        errors = np.linalg.norm(query.camera.project(in_camera) - matches.keypoints, axis=1)
        return np.asarray((errors < limit) & (in_camera[:, 2] > 0))


def _seen_points(
    localizer: Localizer, query: Query, result: PoseEstimate
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the SfM points beside whose observation in a reference a match lies that agrees.

    The depth of such a feature is that of the point, so that the image sees the point too; its
    pixel is where the pose projects it.
    """
    reference_map, matches = localizer.map, result.matches
    agrees = _agreeing(localizer, query, result)
    found = [np.zeros(0, dtype=np.int32)]
    for index in np.unique(matches.reference[agrees]):
        rows = reference_map.observations_of(int(index))
        observed = np.asarray(reference_map.observation_pixels[rows], dtype=np.float64)
        if not len(observed):
            continue
        camera = reference_map.references[index].camera
        radius = localizer.config.lifting.observed_radius * camera.reduction_to(
            localizer.config.features.max_size
        )
        keypoints = matches.reference_keypoints[agrees & (matches.reference == index)]
        distance, nearest = map(np.asarray, cKDTree(observed).query(keypoints))
        beside = np.asarray(reference_map.observation_points[rows])[nearest[distance <= radius]]
        found.append(beside.astype(np.int32))
    points = np.unique(np.concatenate(found))
    positions = np.asarray(reference_map.point_array[points], dtype=np.float64)
    in_camera = result.camera_from_map.apply(positions + reference_map.origin)
    with np.errstate(invalid="ignore"):
        pixels = query.camera.project(in_camera)
        size = (query.camera.width, query.camera.height)
        inside = ((pixels > 0) & (pixels < size)).all(axis=1) & (in_camera[:, 2] > 0)
    return points[inside], pixels[inside]
