"""Pictures for the demo's page: what the robot saw beside the map image it was matched to."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.messages.image import Pixels

LINES = 90
GAP = 6


@dataclass(frozen=True)
class MatchPicture:
    """A query beside its best reference.

    Attributes:
        stamp: of the query, nanoseconds.
        pixels: (H, W, 3) RGB uint8.
        reference: name of the map image.
        shown: lines drawn.
        agreeing: matches with this reference that agree with the pose.
    """

    stamp: int
    pixels: Pixels
    reference: str
    shown: int
    agreeing: int

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        return jpeg(self.pixels)


def jpeg(pixels: NDArray[np.uint8], quality: int = 82) -> str:
    """Return RGB or gray pixels as a data URI."""
    ordered = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    _, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(ordered), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def match_picture(
    stamp: int,
    pixels: Pixels,
    camera: Camera,
    found: PoseEstimate,
    images: Path,
    names: list[str],
    max_error: float = 6.0,
) -> MatchPicture | None:
    """Draw the matches between a query and the map image it shares most with.

    A match counts as agreeing when the pose projects its 3D point within `max_error` pixels.

    Args:
        stamp: of the query.
        pixels: of the query.
        camera: of the query.
        found: its pose.
        images: folder of the map's images.
        names: of the map's references, by index.
        max_error: pixels.
    """
    matches = found.matches
    expected = camera.project(found.camera_from_map.apply(matches.points3d))
    # A point behind the camera projects to NaN, which is no small error.
    near = np.linalg.norm(expected - matches.keypoints, axis=1) < max_error
    if not near.any():
        return None
    best = int(np.bincount(matches.reference[near]).argmax())
    chosen = np.flatnonzero(near & (matches.reference == best))
    shown = chosen[np.linspace(0, len(chosen) - 1, min(LINES, len(chosen))).astype(int)]
    reference = cv2.imread(str(images / names[best]), cv2.IMREAD_COLOR)
    if reference is None:
        return None
    right = np.asarray(reference[..., ::-1])
    left = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    height = max(left.shape[0], right.shape[0])
    canvas = np.full((height, left.shape[1] + GAP + right.shape[1], 3), 255, np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], left.shape[1] + GAP :] = right
    hues = np.linspace(0, 150, max(len(shown), 1)).astype(np.uint8)
    order = np.argsort(np.argsort(matches.keypoints[shown, 0]))
    for index, rank in zip(shown, order, strict=True):
        patch = np.array([[[hues[rank], 210, 255]]], np.uint8)
        colour = tuple(int(c) for c in cv2.cvtColor(patch, cv2.COLOR_HSV2RGB)[0, 0])
        start = tuple(int(v) for v in matches.keypoints[index])
        x, y = matches.reference_keypoints[index]
        end = (int(x) + left.shape[1] + GAP, int(y))
        cv2.line(canvas, start, end, colour, 1, cv2.LINE_AA)
        cv2.circle(canvas, start, 3, colour, 1, cv2.LINE_AA)
        cv2.circle(canvas, end, 3, colour, 1, cv2.LINE_AA)
    return MatchPicture(stamp, canvas, names[best], len(shown), len(chosen))
