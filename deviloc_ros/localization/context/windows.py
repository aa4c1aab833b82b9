"""In which window of the query each feature of a reference must lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.context.guided import Windows
from deviloc_ros.maps.reference import Reference

# Half the length of a window along the epipolar line, at most; pixels of the working size.
MAX_ALONG = 60.0
# Of a depth whose standard deviation the map does not tell, relative.
USUAL_DEPTH_SIGMA = 0.05
DEPTH_SIGMAS = 2.0
DEPTH_STEP = 1e-3


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
