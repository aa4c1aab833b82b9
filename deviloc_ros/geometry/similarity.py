"""Similarity transforms Sim(3): rigid transforms with a scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class Similarity:
    """x_target = scale * rotation * x_source + translation.

    Attributes:
        scale: target units per source unit.
        rotation: target_from_source.
        translation: (3,) float64, target units.
    """

    scale: float
    rotation: Rotation
    translation: NDArray[np.float64]

    @staticmethod
    def identity() -> Similarity:
        """Return the transform that changes nothing."""
        return Similarity(1.0, Rotation.identity(), np.zeros(3))

    def apply(self, points: ArrayLike) -> NDArray[np.float64]:
        """Transform points (..., 3)."""
        points = np.asarray(points, dtype=np.float64)
        rotated = points @ self.rotation.as_matrix().T
        return np.asarray(self.scale * rotated + self.translation)

    def inverse(self) -> Similarity:
        """Return source_from_target."""
        rotation = self.rotation.inv()
        translation = -(rotation.as_matrix() @ self.translation) / self.scale
        return Similarity(1 / self.scale, rotation, translation)

    def __matmul__(self, other: Similarity) -> Similarity:
        """Chain: (a_from_b @ b_from_c) is a_from_c."""
        return Similarity(
            self.scale * other.scale, self.rotation * other.rotation, self.apply(other.translation)
        )

    def camera_pose(self, camera_from_source: Transform) -> Transform:
        """Return camera_from_target: the same camera in the target frame, in its units."""
        rotation = camera_from_source.rotation * self.rotation.inv()
        centre = self.apply(camera_from_source.inverse().translation)
        return Transform(rotation, -rotation.apply(centre))
