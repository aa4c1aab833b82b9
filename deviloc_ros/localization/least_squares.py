"""Minimise reprojection errors over the pose of a camera, and how they depend on it."""

from __future__ import annotations

from collections.abc import Callable

import numba
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
COST_BEHIND = 1e3

Linearise = Callable[[Transform], tuple[NDArray[np.float64], NDArray[np.float64]]]


def projection_jacobian(
    camera: Camera,
    camera_from_map: Transform,
    points: NDArray[np.float64],
    lens: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project points and differentiate by the camera's pose in the map.

    Args:
        camera: intrinsics, of any model.
        camera_from_map: the pose.
        points: (N, 3), map frame.
        lens: (N, 2, 2), what `lens_jacobian` gave for these points and a pose nearby.

    Returns:
        Pixels (N, 2), NaN behind the camera, and their derivatives (N, 2, 6) by a shift of the
        camera in the map frame, then by a turn about the map's fixed axes through its centre.
    """
    rotation = camera_from_map.rotation.as_matrix()
    from_centre = points + rotation.T @ camera_from_map.translation
    in_camera = from_centre @ rotation.T
    if lens is None:
        lens = lens_jacobian(camera, in_camera)
    jacobian = np.empty((len(points), 2, 6))
    _pose_jacobian(from_centre, in_camera, rotation, lens, jacobian)
    return camera.project(in_camera), jacobian


def lens_jacobian(camera: Camera, in_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differentiate pixels by the coordinates on the normalised image plane.

    Args:
        camera: intrinsics, of any model.
        in_camera: (N, 3) points in the camera's frame.

    Returns:
        (N, 2, 2), pixel by plane coordinate; NaN behind the camera.
    """
    depth = in_camera[:, 2:]
    plane = in_camera / np.where(depth > 0, depth, np.nan)
    pixels = camera.project(plane)
    steps = np.array([STEP, 0.0, 0.0]), np.array([0.0, STEP, 0.0])
    columns = [(camera.project(plane + step) - pixels) / STEP for step in steps]
    return np.stack(columns, axis=-1)


def refine(
    camera: Camera,
    camera_from_map: Transform,
    keypoints: NDArray[np.float64],
    points: NDArray[np.float64],
    loss_scale: float,
    whitening: NDArray[np.float64] | None = None,
) -> Transform:
    """Return the pose of a camera with the least sum of Cauchy losses near a first one.

    Args:
        camera: intrinsics.
        camera_from_map: the first pose.
        keypoints: (N, 2), pixels.
        points: (N, 3), map frame.
        loss_scale: of the Cauchy loss, pixels; standard deviations with `whitening`.
        whitening: (N, 2, 2), from pixels to standard deviations of each keypoint.
    """
    # Within a refinement projections move by few pixels, over which the lens stays the same.
    lens = lens_jacobian(camera, camera_from_map.apply(points))

    def linearise(pose: Transform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        pixels, jacobian = projection_jacobian(camera, pose, points, lens)
        return whitened(pixels - keypoints, jacobian, whitening)

    return minimise(camera_from_map, linearise, loss_scale)


def whitened(
    residuals: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    whitening: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return residuals (N, 2) and derivatives (N, 2, 6) in standard deviations, or as they are."""
    if whitening is None:
        return residuals, jacobian
    into = np.empty_like(residuals), np.empty_like(jacobian)
    _whiten(residuals, jacobian, whitening, *into)
    return into


def minimise(first: Transform, linearise: Linearise, loss_scale: float) -> Transform:
    """Return the pose of a body with the least sum of Cauchy losses near a first one.

    Gauss-Newton on reweighted errors; a step that does not lower the loss ends it.

    Args:
        first: body_from_map.
        linearise: gives for such a pose the residuals (N, 2), NaN behind the camera, and their
            derivatives (N, 2, 6) by a shift of the body in the map frame, then by a turn about the
            map's fixed axes through the body's origin.
        loss_scale: of the Cauchy loss, in the unit of the residuals.
    """
    pose, best, least = first, first, np.inf
    map_from_body = first.inverse()
    for _ in range(MAX_ITERATIONS):
        residuals, jacobian = linearise(pose)
        loss, hessian, gradient = _normal_equations(jacobian, residuals / loss_scale)
        if not loss < least:
            break
        best, least = pose, loss
        # Shifts and turns have different units; columns of unit length solve without losing digits.
        norm = np.sqrt(np.diag(hessian))
        if not (norm > 0).all():
            break
        try:
            scaled = np.linalg.solve(hessian / np.outer(norm, norm), gradient / norm)
        except np.linalg.LinAlgError:
            break
        step = -scaled / norm * loss_scale
        moved = jacobian.reshape(-1, 6) @ step
        if np.nanmax(np.abs(moved), initial=0.0) < CONVERGED_PIXELS:
            break
        map_from_body = Transform(
            Rotation.from_rotvec(step[3:]) * map_from_body.rotation,
            map_from_body.translation + step[:3],
        )
        pose = map_from_body.inverse()
    return best


@numba.njit(nogil=True, cache=True)
def _pose_jacobian(
    from_centre: NDArray[np.float64],
    in_camera: NDArray[np.float64],
    rotation: NDArray[np.float64],
    lens: NDArray[np.float64],
    jacobian: NDArray[np.float64],
) -> None:
    """Fill (N, 2, 6), the derivatives of pixels by the camera's shift and turn in the map."""
    for i in range(len(in_camera)):
        x, y, z = in_camera[i]
        dx, dy, dz = from_centre[i]
        for row in range(2):
            by_x = lens[i, row, 0] / z if z > 0 else np.nan
            by_y = lens[i, row, 1] / z if z > 0 else np.nan
            by_z = -(by_x * x + by_y * y) / z if z > 0 else np.nan
            out = jacobian[i, row]
            for k in range(3):
                out[k] = -(by_x * rotation[0, k] + by_y * rotation[1, k] + by_z * rotation[2, k])
            # A turn w of the camera moves a point d away from its centre like a shift by w x d.
            out[3] = dy * out[2] - dz * out[1]
            out[4] = dz * out[0] - dx * out[2]
            out[5] = dx * out[1] - dy * out[0]


@numba.njit(nogil=True, cache=True)
def _whiten(
    residuals: NDArray[np.float64],
    jacobian: NDArray[np.float64],
    whitening: NDArray[np.float64],
    white: NDArray[np.float64],
    white_jacobian: NDArray[np.float64],
) -> None:
    """Fill residuals (N, 2) and derivatives (N, 2, 6) in standard deviations."""
    for i in range(len(residuals)):
        for row in range(2):
            by_x, by_y = whitening[i, row]
            white[i, row] = by_x * residuals[i, 0] + by_y * residuals[i, 1]
            for k in range(6):
                white_jacobian[i, row, k] = by_x * jacobian[i, 0, k] + by_y * jacobian[i, 1, k]


@numba.njit(nogil=True, cache=True)
def _normal_equations(
    jacobian: NDArray[np.float64], residuals: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum of Cauchy losses, J' W J (6, 6) and J' W r (6,) of the reweighted errors.

    Residuals (N, 2) are in units of the loss scale. A point behind the camera costs a constant.
    """
    loss = 0.0
    hessian = np.zeros((6, 6))
    gradient = np.zeros(6)
    for i in range(len(residuals)):
        squared = residuals[i, 0] ** 2 + residuals[i, 1] ** 2
        if not np.isfinite(squared):
            loss += COST_BEHIND
            continue
        loss += np.log1p(squared)
        weight = 1 / (1 + squared)
        for row in range(2):
            j = jacobian[i, row]
            for a in range(6):
                weighted = weight * j[a]
                gradient[a] += weighted * residuals[i, row]
                for b in range(a + 1):
                    hessian[a, b] += weighted * j[b]
    for a in range(6):
        for b in range(a):
            hessian[b, a] = hessian[a, b]
    return loss, hessian, gradient
