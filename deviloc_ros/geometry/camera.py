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


_TURNING = frozenset(
    {
        "f",
        "fx",
        "fy",
        "cx",
        "cy",
        "k",
        "k1",
        "k2",
        "k3",
        "k4",
        "k5",
        "k6",
        "p1",
        "p2",
        "omega",
        "alpha",
        "beta",
    }
)
"""Parameters of camera models of which it is known what a turn by 90 deg makes of them."""


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
        if not np.all(np.isfinite(self.params)):
            wrong = [
                f"{name.strip()} = {value:g}"
                for name, value in zip(names.split(","), self.params, strict=True)
                if not np.isfinite(value)
            ]
            raise InputError(f"camera {self.model}: {', '.join(wrong)} is not a finite number")
        if self.focal_length <= 0:
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

    def fitted_to(self, width: int, height: int) -> Camera:
        """Return the camera of an image that was resized to `width` x `height` pixels.

        Raises:
            InputError: the sides are not in the camera's proportion (to half a pixel of rounding),
                so that the image was cropped, turned, or is another camera's.
        """
        if (width, height) == (self.width, self.height):
            return self
        if self._has_shape_of(width, height):
            return self.scaled(width, height)
        given = f"the image has {width} x {height} pixels, its camera {self.width} x {self.height}"
        if (height, width) == (self.width, self.height):
            raise InputError(
                f"{given}: it is turned by 90 deg (pixels are taken as stored, whatever EXIF says);"
                " give the camera of the stored pixels"
            )
        raise InputError(
            f"{given}: only a resized image of the same proportions can be used; give its own "
            "camera"
        )

    def turned_to(self, width: int, height: int) -> Camera | None:
        """Return the camera of an image that was turned by 90 deg and perhaps resized, or None.

        A portrait image is taken to be turned clockwise, a landscape one anticlockwise, as
        phones and viewers do with a picture taken upright. Which it was decides only where the
        principal point is, and what tangential distortion is called.

        Returns:
            None: the sides are not in that proportion, or the camera model cannot be turned.
        """
        names = [name.strip() for name in self._empty().params_info.split(",")]
        if not self._has_shape_of(height, width) or not _TURNING.issuperset(names):
            return None
        values = dict(zip(names, self.params, strict=True))
        clockwise = width < height
        changed = {}
        if "fx" in values:
            changed = {"fx": values["fy"], "fy": values["fx"]}
        if clockwise:  # (x, y) becomes (height - y, x)
            changed |= {"cx": self.height - values["cy"], "cy": values["cx"]}
        else:
            changed |= {"cx": values["cy"], "cy": self.width - values["cx"]}
        if "p1" in values:
            sign = 1 if clockwise else -1
            changed |= {"p1": sign * values["p2"], "p2": -sign * values["p1"]}
        params = tuple(float(changed.get(name, values[name])) for name in names)
        return Camera(self.model, self.height, self.width, params).fitted_to(width, height)

    def _has_shape_of(self, width: int, height: int) -> bool:
        scale = max(width / self.width, height / self.height)
        return abs(scale * self.width - width) <= 1 and abs(scale * self.height - height) <= 1

    def reduction_to(self, max_size: int) -> float:
        """Return its pixels per pixel of the image whose longer side is reduced to `max_size`.

        1 where the image is no larger.
        """
        return max(1.0, max(self.width, self.height) / max_size)

    def _empty(self) -> pycolmap.Camera:
        return pycolmap.Camera.create_from_model_name(0, self.model, 1.0, 1, 1)
