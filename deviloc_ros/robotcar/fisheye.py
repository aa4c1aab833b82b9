"""A lens model for distorted RobotCar images, whose distortion is known as a table only."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.optimize import least_squares

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.robotcar.calibration import CameraModel, UndistortionTable

GRID = 40
MAX_RESIDUAL = 1.0


def fit_fisheye(model: CameraModel, table: UndistortionTable, name: str) -> Camera:
    """Return the OPENCV_FISHEYE camera of the distorted images: Kannala and Brandt's model.

    It holds where the table looks; beyond, towards the corners of a fisheye image, it is a guess.

    Args:
        model: of the undistorted images.
        table: from undistorted to distorted pixels.
        name: of the camera, for errors.

    Raises:
        InputError: the table is none that such a lens could have.
    """
    height, width = table.x.shape
    rows = np.linspace(0, height - 1, GRID).round().astype(int)
    columns = np.linspace(0, width - 1, GRID).round().astype(int)
    v, u = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
    seen = np.stack([table.x[v, u], table.y[v, u]], axis=1).astype(np.float64)
    inside = (seen >= 0).all(axis=1) & (seen[:, 0] <= width - 1) & (seen[:, 1] <= height - 1)
    rays = np.stack(
        [(u - model.centre[0]) / model.focal[0], (v - model.centre[1]) / model.focal[1]], axis=1
    )[inside].reshape(-1, 1, 2)
    seen = seen[inside]
    if len(seen) < GRID:
        raise InputError(f"the undistortion table of camera {name} shows too little of its image")

    def residuals(values: np.ndarray) -> np.ndarray:
        fx, fy, cx, cy = values[:4]
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        return np.asarray(cv2.fisheye.distortPoints(rays, matrix, values[4:])[:, 0] - seen).ravel()

    start = np.array([*model.focal, (width - 1) / 2, (height - 1) / 2, 0.0, 0.0, 0.0, 0.0])
    fit = least_squares(residuals, start, x_scale=np.maximum(np.abs(start), 0.1))
    off = float(np.sqrt(np.mean(fit.fun**2) * 2))
    if not off < MAX_RESIDUAL:
        raise InputError(
            f"the undistortion table of camera {name} fits no fisheye lens: {off:.2f} px off; "
            "write undistorted images instead (--images rgb)"
        )
    fx, fy, cx, cy, *coefficients = (float(value) for value in fit.x)
    params = (fx, fy, cx + 0.5, cy + 0.5, *coefficients)
    return Camera("OPENCV_FISHEYE", width, height, params)
