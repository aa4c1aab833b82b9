"""In which window of the query each feature of a reference must lie."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.context.guided import Windows
from deviloc_ros.maps.map import Reference

# Half the length of a window along the epipolar line, at most; pixels of the working size.
MAX_ALONG = 60.0
# Of a depth whose standard deviation the map does not tell, relative.
USUAL_DEPTH_SIGMA = 0.05
DEPTH_SIGMAS = 2.0
DEPTH_STEP = 1e-3
# Matches around a feature that say where it went.
NEIGHBOURS = 6


def pose_windows(
    camera: Camera,
    camera_from_map: Transform,
    reference: Reference,
    points: NDArray[np.float64],
    depth_sigma: NDArray[np.float64] | None,
    radius: float,
    pixel_scale: float,
) -> Windows:
    """Return where a camera of about this pose sees the features of a reference.

    Args:
        camera: intrinsics of the query.
        camera_from_map: about its pose.
        reference: the reference.
        points: (M, 3), of its features, map frame; NaN where unknown.
        depth_sigma: (M,), relative standard deviation of their depths; NaN or None where unknown.
        radius: by how much the pose may shift the image, pixels of the working size.
        pixel_scale: query pixels per pixel of the working size.
    """
    eye = reference.camera_from_map.inverse().translation
    centre = camera.project(camera_from_map.apply(points))
    deeper = camera.project(camera_from_map.apply(points + DEPTH_STEP * (points - eye)))
    along = (deeper - centre) / DEPTH_STEP
    length = np.linalg.norm(along, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        direction = np.where(length[:, None] > 1e-9, along / length[:, None], (1.0, 0.0))
    sigma = np.full(len(points), np.nan) if depth_sigma is None else depth_sigma
    sigma = np.nan_to_num(sigma, nan=USUAL_DEPTH_SIGMA)
    across = np.full(len(points), radius * pixel_scale)
    reach = np.minimum(DEPTH_SIGMAS * sigma * length, (MAX_ALONG - radius) * pixel_scale) + across
    return Windows(centre, direction, np.stack([reach, across], axis=1))


def epipolar_windows(
    keypoints: NDArray[np.float64],
    fundamental: NDArray[np.float64],
    query_seeds: NDArray[np.float64],
    reference_seeds: NDArray[np.float64],
    across: float,
    along: float = MAX_ALONG,
) -> Windows:
    """Return where the features of an image lie in another: near a line, and near their neighbours.

    Args:
        keypoints: (M, 2), of the reference, pixels.
        fundamental: (3, 3), x_query' F x_reference = 0.
        query_seeds: (S, 2), matches that agree with it, S >= 4.
        reference_seeds: (S, 2).
        across: half the windows' width, pixels of the query.
        along: half their length.
    """
    # Where neighbours went: an affine map of the whole image, and what they have left over.
    affine, _ = cv2.estimateAffine2D(
        reference_seeds, query_seeds, method=cv2.RANSAC, ransacReprojThreshold=2 * along
    )
    moved = keypoints @ affine[:, :2].T + affine[:, 2]
    left_over = query_seeds - (reference_seeds @ affine[:, :2].T + affine[:, 2])
    count = min(NEIGHBOURS, len(reference_seeds))
    distance, near = cKDTree(reference_seeds).query(keypoints, k=count)
    weight = 1 / (np.reshape(distance, (-1, count)) + 10.0)
    weight /= weight.sum(axis=1, keepdims=True)
    moved += np.einsum("mk,mkc->mc", weight, left_over[np.reshape(near, (-1, count))])
    lines = np.column_stack([keypoints, np.ones(len(keypoints))]) @ fundamental.T
    normal = lines[:, :2] / np.linalg.norm(lines[:, :2], axis=1, keepdims=True)
    offset = lines[:, 2] / np.linalg.norm(lines[:, :2], axis=1)
    centre = moved - normal * (np.sum(moved * normal, axis=1) + offset)[:, None]
    direction = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    return Windows(centre, direction, np.tile([along, across], (len(keypoints), 1)))
