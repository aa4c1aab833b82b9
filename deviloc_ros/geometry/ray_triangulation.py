"""Depth along known viewing rays, from where another view sees what lies on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

REFINEMENTS = 2


@dataclass(frozen=True)
class RayMeasurements:
    """What a second view says of points on rays of a first one.

    Attributes:
        inverse_depth: (N,) float64, 1 / z in the first camera; may be negative. NaN where the
            second view's ray is useless.
        sigma: (N,) float64, standard deviation of the inverse depth for one pixel of error in the
            second view.
        residual: (N, 2) float64, observed minus projected, pixels of the second view.
        across: (N, 2) float64, unit normal of the epipolar line there: only the part of an error
            along it shows in the residual.
    """

    inverse_depth: NDArray[np.float64]
    sigma: NDArray[np.float64]
    residual: NDArray[np.float64]
    across: NDArray[np.float64]

    @property
    def epipolar_error(self) -> NDArray[np.float64]:
        """Signed distance (N,) of the observation from its epipolar line, pixels."""
        return np.asarray((self.residual * self.across).sum(axis=1))


def triangulate_on_rays(
    rays: NDArray[np.float64],
    second: Camera,
    second_from_first: Transform,
    pixels: NDArray[np.float64],
) -> RayMeasurements:
    """Find the inverse depth on each ray that projects nearest to a pixel of the second view.

    With a ray r and inverse depth q the point is seen from the second view in direction R r + q t.
    That is linear in q, so a first solution is closed; Gauss-Newton steps then minimise the
    distance in the image. Distances are measured in the undistorted image.

    Args:
        rays: (N, 3), first camera's frame, z = 1.
        second: intrinsics of the second view.
        second_from_first: its pose.
        pixels: (N, 2), where it sees the points.
    """
    plane = second.rays(pixels)[:, :2]
    turned = rays @ second_from_first.rotation.as_matrix().T
    shift = second_from_first.translation
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = plane * shift[2] - shift[:2]
        offset = turned[:, :2] - plane * turned[:, 2:]
        inverse_depth = (slope * offset).sum(axis=1) / (slope * slope).sum(axis=1)
        for _ in range(REFINEMENTS):
            projected, derivative = _project(turned, shift, inverse_depth)
            step = (derivative * (projected - plane)).sum(axis=1) / (derivative**2).sum(axis=1)
            inverse_depth = inverse_depth - step
        projected, derivative = _project(turned, shift, inverse_depth)
        length = np.linalg.norm(derivative, axis=1)
        along = derivative / length[:, None]
    focal = second.focal_length
    useful = np.isfinite(projected).all(axis=1) & (length > 0)
    inverse_depth = np.where(useful, inverse_depth, np.nan)
    with np.errstate(divide="ignore"):
        sigma = 1.0 / (length * focal)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    return RayMeasurements(inverse_depth, sigma, (plane - projected) * focal, across)


def _project(
    turned: NDArray[np.float64], shift: NDArray[np.float64], inverse_depth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return image-plane coordinates (N, 2) and their derivatives by the inverse depth."""
    depth = turned[:, 2] + inverse_depth * shift[2]
    depth = np.where(depth > 0, depth, np.nan)[:, None]
    projected = (turned[:, :2] + inverse_depth[:, None] * shift[:2]) / depth
    return projected, (shift[:2] - projected * shift[2]) / depth
