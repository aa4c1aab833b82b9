"""Pictures of an image's matches, for people who want to know why a pose is good or missing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.types import Localization, PoseEstimate

WIDTH = 1280
INLIER = (0, 200, 0)
OUTLIER = (0, 60, 255)
RESIDUAL = (0, 220, 255)
EXAGGERATION = 5.0


def draw_matches(
    image: NDArray[np.uint8], camera: Camera, result: Localization
) -> NDArray[np.uint8]:
    """Return the image with its 2D-3D matches: inliers green, others red.

    A line goes from an inlier to where the pose projects its 3D point, drawn five times as long as
    it is, so that a systematic error shows.

    Args:
        image: (H, W) gray, uint8.
        camera: its intrinsics.
        result: what came of it.

    Returns:
        (H', W', 3) BGR uint8, at most 1280 pixels wide.
    """
    scale = min(1.0, WIDTH / image.shape[1])
    resized = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    picture = cv2.cvtColor(resized, cv2.COLOR_GRAY2BGR)
    if isinstance(result, PoseEstimate):
        matches, inliers = result.correspondences, result.inliers
        for x, y in matches.keypoints[~inliers] * scale:
            cv2.circle(picture, (round(x), round(y)), 2, OUTLIER, -1, cv2.LINE_AA)
        found = matches.keypoints[inliers]
        expected = camera.project(result.camera_from_map.apply(matches.points3d[inliers]))
        ends = found + EXAGGERATION * (expected - found)
        for (x, y), (end_x, end_y) in zip(found * scale, ends * scale, strict=True):
            cv2.line(picture, (round(x), round(y)), (round(end_x), round(end_y)), RESIDUAL, 1)
            cv2.circle(picture, (round(x), round(y)), 2, INLIER, -1, cv2.LINE_AA)
        text = f"{result.num_inliers} of {len(matches)} matches agree"
    else:
        text = f"no pose: {result}"
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(
            picture, text, (10, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA
        )
    return np.asarray(picture, dtype=np.uint8)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a BGR picture as JPEG.

    Raises:
        InputError: the file cannot be written.
    """
    sound, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])
    if not sound:
        raise InputError(f"{path}: the picture cannot be encoded")
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.tobytes())
