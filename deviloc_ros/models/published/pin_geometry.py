"""Geometry in front of and behind the Point Inference Network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

UNDISTORTION_ITERATIONS = 5


@dataclass(frozen=True)
class ReferenceCamera:
    """Intrinsics and pose of a reference image, of whatever precision the caller works in.

    Attributes:
        intrinsics: (3, 3), pixels of the original image.
        camera_from_map: (4, 4).
        distortion: (4,) k1, k2, p1, p2 of the OpenCV model, or None where there is none.
    """

    intrinsics: Tensor
    camera_from_map: Tensor
    distortion: Tensor | None

    def to(self, device: torch.device, dtype: torch.dtype) -> ReferenceCamera:
        """Return the same camera elsewhere and in another precision."""
        return ReferenceCamera(
            self.intrinsics.to(device, dtype),
            self.camera_from_map.to(device, dtype),
            None if self.distortion is None else self.distortion.to(device, dtype),
        )

    def points_in_camera(self, points: Tensor) -> Tensor:
        """Transform points (N, 3) from the map to the camera frame."""
        rotation, translation = self.camera_from_map[:3, :3], self.camera_from_map[:3, 3]
        in_camera: Tensor = points @ rotation.T + translation
        return in_camera

    def points_in_map(self, points: Tensor) -> Tensor:
        """Transform points (N, 3) from the camera to the map frame."""
        rotation, translation = self.camera_from_map[:3, :3], self.camera_from_map[:3, 3]
        in_map: Tensor = (points - translation) @ _inverse(rotation.T)
        return in_map

    def rays(self, keypoints: Tensor) -> Tensor:
        """Return the viewing rays (M, 3), camera frame, of keypoints (M, 2), pixels."""
        if self.distortion is not None:
            keypoints = undistort(keypoints, self.intrinsics, self.distortion)
        pixels = torch.cat([keypoints, torch.ones_like(keypoints[:, :1])], dim=1)
        rays: Tensor = pixels @ _inverse(self.intrinsics).T
        return rays


def _inverse(matrix: Tensor) -> Tensor:
    """Return the inverse of a matrix that has one: a GPU is not waited for to check."""
    inverse: Tensor = torch.linalg.inv_ex(matrix).inverse
    return inverse


def undistort(
    keypoints: Tensor,
    intrinsics: Tensor,
    distortion: Tensor,
    iterations: int = UNDISTORTION_ITERATIONS,
) -> Tensor:
    """Remove OpenCV's radial-tangential distortion by its fixed-point iteration.

    A fixed number of iterations without a convergence test: the network was trained behind it.

    Args:
        keypoints: (M, 2), distorted pixels.
        intrinsics: (3, 3).
        distortion: (4,) k1, k2, p1, p2.
        iterations: how often the distortion is evaluated.

    Returns:
        (M, 2), pixels of the camera without distortion.
    """
    k1, k2, p1, p2 = distortion
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    centre = intrinsics[:2, 2]
    start = (keypoints - centre) / focal
    x0, y0 = start.unbind(1)
    x, y = x0, y0
    for _ in range(iterations):
        r2 = x * x + y * y
        gain = 1 / (1 + k1 * r2 + k2 * r2 * r2)
        dx = 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        dy = p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        x, y = (x0 - dx) * gain, (y0 - dy) * gain
    return torch.stack([x, y], dim=1) * focal + centre


def to_colmap(keypoints: Tensor, scale: Tensor) -> Tensor:
    """Move keypoints from first network pixel at 0 to COLMAP's first pixel at 0.5, float64."""
    return keypoints.double() + 0.5 * scale.double()
