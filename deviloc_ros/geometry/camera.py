"""Camera models: COLMAP's, with COLMAP's pixel convention (centre of the first pixel at 0.5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pycolmap
from numpy.typing import ArrayLike, NDArray

from deviloc_ros.errors import InputError

MODEL_NAMES = tuple(
    sorted(
        name
        for name in pycolmap.CameraModelId.__members__
        if name not in ("INVALID", "EQUIRECTANGULAR")
    )
)


@dataclass(frozen=True)
class Camera:
    """Intrinsics of one camera.

    Attributes:
        model: name of a COLMAP camera model, such as PINHOLE or OPENCV.
        width: image width, pixels.
        height: image height, pixels.
        params: the model's parameters in COLMAP's order, pixels and distortion coefficients.
    """

    model: str
    width: int
    height: int
    params: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what no camera can be.

        Raises:
            InputError: unknown model, wrong number of parameters, or senseless values.
        """
        if self.model not in MODEL_NAMES:
            raise InputError(
                f"camera model {self.model!r} is unknown; use one of {', '.join(MODEL_NAMES)}"
            )
        names = self._empty().params_info
        expected = len(names.split(","))
        if len(self.params) != expected:
            raise InputError(
                f"camera model {self.model} takes {expected} parameters ({names}), "
                f"got {len(self.params)}"
            )
        if self.width < 1 or self.height < 1:
            raise InputError(f"camera size {self.width} x {self.height} must be positive")
        if not np.all(np.isfinite(self.params)) or self.focal_length <= 0:
            raise InputError(
                f"camera {self.model} {self.params}: the focal length must be positive"
            )

    @staticmethod
    def parse(text: str) -> Camera:
        """Read "MODEL width height param ..." as in COLMAP's cameras.txt without the id.

        Raises:
            InputError: the text is not such a line.
        """
        fields = text.split()
        try:
            model, width, height = fields[0], int(fields[1]), int(fields[2])
            params = tuple(float(value) for value in fields[3:])
        except (IndexError, ValueError) as error:
            raise InputError(
                f"camera {text!r}: expected 'MODEL width height param ...', "
                "such as 'PINHOLE 640 480 500 500 320 240'"
            ) from error
        return Camera(model, width, height, params)

    @staticmethod
    def from_pycolmap(camera: pycolmap.Camera) -> Camera:
        """Convert from pycolmap."""
        return Camera(
            camera.model.name,
            int(camera.width),
            int(camera.height),
            tuple(float(value) for value in camera.params),
        )

    def __str__(self) -> str:
        """Return the line that `parse` reads."""
        params = " ".join(repr(value) for value in self.params)
        return f"{self.model} {self.width} {self.height} {params}"

    @cached_property
    def colmap(self) -> pycolmap.Camera:
        """The same camera for pycolmap's estimators."""
        return pycolmap.Camera(
            model=self.model, width=self.width, height=self.height, params=list(self.params)
        )

    @property
    def focal_length(self) -> float:
        """Mean focal length, pixels."""
        camera = self.colmap
        return float(np.mean([camera.params[i] for i in camera.focal_length_idxs()]))

    @property
    def intrinsics(self) -> NDArray[np.float64]:
        """The (3, 3) matrix of the model without its distortion."""
        return np.asarray(self.colmap.calibration_matrix(), dtype=np.float64)

    def project(self, points: ArrayLike) -> NDArray[np.float64]:
        """Project points (N, 3) of the camera frame to pixels (N, 2); NaN where z <= 0."""
        points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        front = points[:, 2] > 0
        if len(points) and front.all():
            return np.asarray(self.colmap.img_from_cam(points))
        pixels = np.full((len(points), 2), np.nan)
        if front.any():
            pixels[front] = self.colmap.img_from_cam(points[front])
        return pixels

    def rays(self, pixels: ArrayLike) -> NDArray[np.float64]:
        """Return the viewing rays (N, 3) of pixels (N, 2): camera frame, z = 1."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        rays = np.ones((len(pixels), 3))
        if len(pixels):
            rays[:, :2] = self.colmap.cam_from_img(pixels)
        return rays

    def scaled(self, width: int, height: int) -> Camera:
        """Return the camera of the same image resized to `width` x `height` pixels."""
        camera = pycolmap.Camera(
            model=self.model, width=self.width, height=self.height, params=list(self.params)
        )
        camera.rescale(width, height)
        return Camera.from_pycolmap(camera)

    def reduction_to(self, max_size: int) -> float:
        """Return its pixels per pixel of the image whose longer side is reduced to `max_size`.

        1 where the image is no larger.
        """
        return max(1.0, max(self.width, self.height) / max_size)

    def _empty(self) -> pycolmap.Camera:
        return pycolmap.Camera.create_from_model_name(0, self.model, 1.0, 1, 1)
