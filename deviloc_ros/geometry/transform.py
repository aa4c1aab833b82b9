"""Rigid transforms SE(3), named `target_from_source`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError

# What is farther away than this is an error of a file or a message, not a place (metres, or the
# unit of a model).
FARTHEST = 1e9


@dataclass(frozen=True)
class Transform:
    """A rigid transform `target_from_source`: x_target = rotation * x_source + translation.

    Attributes:
        rotation: scipy Rotation, target_from_source.
        translation: (3,) float64, origin of the source frame in the target frame, metres.
    """

    rotation: Rotation
    translation: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Normalise the translation to a (3,) float64 array."""
        translation = np.array(self.translation, dtype=np.float64).reshape(3)
        translation.setflags(write=False)
        object.__setattr__(self, "translation", translation)

    @staticmethod
    def identity() -> Transform:
        """Return the transform between a frame and itself."""
        return Transform(Rotation.identity(), np.zeros(3))

    @staticmethod
    def from_matrix(matrix: ArrayLike) -> Transform:
        """Build from a (4, 4) or (3, 4) matrix.

        Raises:
            InputError: a value is not finite.
        """
        m = np.asarray(matrix, dtype=np.float64)
        if not np.isfinite(m).all():
            raise InputError("a pose must be made of finite numbers")
        return Transform(Rotation.from_matrix(m[:3, :3]), m[:3, 3])

    @staticmethod
    def from_quaternion(wxyz: ArrayLike, translation: ArrayLike) -> Transform:
        """Build from a unit quaternion in COLMAP's order (w, x, y, z) and a translation.

        Raises:
            InputError: a value is not finite, the quaternion cannot be normalised, or the
                translation is longer than FARTHEST.
        """
        q, place = np.asarray(wxyz, dtype=np.float64), np.asarray(translation, dtype=np.float64)
        if not (np.isfinite(q).all() and np.isfinite(place).all()):
            raise InputError(
                f"rotation {q.tolist()} (w x y z) and translation {place.tolist()} must be finite "
                "numbers"
            )
        if not 1e-6 < math.hypot(*q) < 1e6:
            raise InputError(f"the quaternion {q.tolist()} (w x y z) cannot be normalised")
        if np.abs(place).max() > FARTHEST:
            raise InputError(f"translation {place.tolist()} is farther away than {FARTHEST:g}")
        w, x, y, z = q
        return Transform(Rotation.from_quat([x, y, z, w]), place)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The transform as a homogeneous (4, 4) float64 matrix."""
        m = np.eye(4)
        m[:3, :3] = self.rotation.as_matrix()
        m[:3, 3] = self.translation
        return m

    @property
    def quaternion_wxyz(self) -> NDArray[np.float64]:
        """The rotation as (w, x, y, z) with w >= 0."""
        x, y, z, w = self.rotation.as_quat(canonical=True)
        return np.array([w, x, y, z])

    @property
    def quaternion_xyzw(self) -> NDArray[np.float64]:
        """The rotation as (x, y, z, w), the order of ROS messages."""
        return np.asarray(self.rotation.as_quat(canonical=True), dtype=np.float64)

    def inverse(self) -> Transform:
        """Return source_from_target."""
        inverse = self.rotation.inv()
        return Transform(inverse, -inverse.as_matrix() @ self.translation)

    def __matmul__(self, other: Transform) -> Transform:
        """Chain: (a_from_b @ b_from_c) is a_from_c."""
        return Transform(self.rotation * other.rotation, self.apply(other.translation))

    def apply(self, points: ArrayLike) -> NDArray[np.float64]:
        """Transform points (..., 3) from the source to the target frame."""
        points = np.asarray(points, dtype=np.float64)
        return np.asarray(points @ self.rotation.as_matrix().T + self.translation)

    def distance_to(self, other: Transform) -> tuple[float, float]:
        """Return how far apart two poses `world_from_body` are: (metres, degrees)."""
        metres = float(np.linalg.norm(self.translation - other.translation))
        degrees = float(np.degrees((self.rotation.inv() * other.rotation).magnitude()))
        return metres, degrees
