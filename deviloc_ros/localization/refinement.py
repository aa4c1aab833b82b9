"""Minimise reprojection errors over the pose of a camera, and how they depend on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

MAX_ITERATIONS = 30
# Steps that move no projection by more than this many pixels end the iteration.
CONVERGED_PIXELS = 5e-3
# Of the numeric derivative of the lens model, in units of the normalised image plane.
STEP = 1e-6


def projection_jacobian(
    camera: Camera, camera_from_map: Transform, points: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project points and differentiate by the camera's pose in the map.

    Args:
        camera: intrinsics, of any model.
        camera_from_map: the pose.
        points: (N, 3), map frame.

    Returns:
        Pixels (N, 2), NaN behind the camera, and their derivatives (N, 2, 6) by a shift of the
        camera in the map frame, then by a turn about the map's fixed axes through its centre.
    """
    rotation = camera_from_map.rotation.as_matrix()
    from_centre = points - camera_from_map.inverse().translation
    in_camera = from_centre @ rotation.T
    depth = in_camera[:, 2:]
    plane = np.where(depth > 0, in_camera / depth, np.nan)
    pixels = camera.project(plane)
    jacobian = np.empty((len(points), 2, 6))
    by_x, by_y = (
        (camera.project(plane + step) - pixels) / STEP
        for step in (np.array([STEP, 0.0, 0.0]), np.array([0.0, STEP, 0.0]))
    )
    for row in range(2):
        along = by_x[:, row] * plane[:, 0] + by_y[:, row] * plane[:, 1]
        by_camera = np.stack([by_x[:, row], by_y[:, row], -along], axis=1) / depth
        by_shift = -by_camera @ rotation
        jacobian[:, row, :3] = by_shift
        # A turn w of the camera moves a point d away from its centre like a shift by w x d.
        jacobian[:, row, 3:] = np.cross(from_centre, by_shift)
    return pixels, jacobian


def refine(
    camera: Camera,
    camera_from_map: Transform,
    keypoints: NDArray[np.float64],
    points: NDArray[np.float64],
    loss_scale: float,
) -> Transform:
    """Return the pose with the least sum of Cauchy losses near a first one.

    Gauss-Newton on reweighted errors; a step that does not lower the loss ends it.

    Args:
        camera: intrinsics.
        camera_from_map: the first pose.
        keypoints: (N, 2), pixels.
        points: (N, 3), map frame.
        loss_scale: of the Cauchy loss, pixels.
    """
    best, least = camera_from_map, np.inf
    pose = camera_from_map
    for _ in range(MAX_ITERATIONS):
        pixels, jacobian = projection_jacobian(camera, pose, points)
        residuals = pixels - keypoints
        squared = np.sum((residuals / loss_scale) ** 2, axis=1)
        seen = np.isfinite(squared)
        loss = float(np.log1p(squared[seen]).sum()) + float((~seen).sum()) * 1e3
        if not loss < least:
            break
        best, least = pose, loss
        root = 1 / np.sqrt(1 + squared[seen])
        weighted = (jacobian[seen] * root[:, None, None]).reshape(-1, 6)
        target = (residuals[seen] * root[:, None]).reshape(-1)
        # Shifts and turns have different units; columns of unit length solve without losing digits.
        norm = np.linalg.norm(weighted, axis=0)
        if not (norm > 0).all():
            break
        weighted /= norm
        try:
            step = -np.linalg.solve(weighted.T @ weighted, weighted.T @ target) / norm
        except np.linalg.LinAlgError:
            break
        if np.abs(jacobian[seen] @ step).max(initial=0.0) < CONVERGED_PIXELS:
            break
        map_from_camera = pose.inverse()
        pose = Transform(
            Rotation.from_rotvec(step[3:]) * map_from_camera.rotation,
            map_from_camera.translation + step[:3],
        ).inverse()
    return best
