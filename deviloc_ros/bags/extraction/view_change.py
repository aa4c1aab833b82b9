"""How much of what one image shows another one still shows, and how sharp it is.

Corners of the first image (J. Shi, C. Tomasi, CVPR 1994) are followed by pyramidal Lucas-Kanade
flow (J.-Y. Bouguet, Intel 2000), as OpenCV has them, at a reduced size. Every image is compared
with the first one itself: what was hidden for a while is found again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.images import to_gray

MAX_SIDE = 640
CORNERS, QUALITY, CORNER_DISTANCE = 300, 0.01, 16
# Images with fewer corners show nothing that could be found again.
MIN_CORNERS = 12
WINDOW, LEVELS = (21, 21), 4
# Corners that do not lead back to where they came from, pixels of the reduced size, are lost.
MAX_RETURN_ERROR = 1.0
# A view in which hardly a corner is lost or moved by more than this share of the side is the same.
SAME_OVERLAP, SAME_MOTION = 0.95, 0.003


@dataclass(frozen=True)
class View:
    """An image as it is looked at.

    Attributes:
        gray: (H, W) uint8, reduced.
        corners: (N, 2) float32, pixels.
        sharpness: variance of the Laplacian as a share of the image's variance. Motion blur and
            defocus lower it; only images of about the same place compare.
    """

    gray: NDArray[np.uint8]
    corners: NDArray[np.float32]
    sharpness: float

    @property
    def is_blank(self) -> bool:
        """Whether it shows nothing to find again."""
        return len(self.corners) < MIN_CORNERS


@dataclass(frozen=True)
class Change:
    """What became of the corners of an image in a later one.

    Attributes:
        overlap: share that is still seen, 0 to 1.
        motion: three quarters of them moved by less, as a share of the longer side.
        parallax: the same after the median motion is taken off, which a turn makes: what tells
            depths.
    """

    overlap: float
    motion: float
    parallax: float

    @property
    def is_none(self) -> bool:
        """Whether the later image shows just what the first one shows."""
        return self.overlap > SAME_OVERLAP and self.motion < SAME_MOTION


def look_at(pixels: NDArray[np.uint8]) -> View:
    """Return an image (H, W) or (H, W, 3) as it is looked at."""
    gray = to_gray(pixels)
    factor = MAX_SIDE / max(gray.shape)
    if factor < 1:
        size = [max(1, round(side * factor)) for side in gray.shape[::-1]]
        gray = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    found = cv2.goodFeaturesToTrack(gray, CORNERS, QUALITY, CORNER_DISTANCE)
    empty = np.zeros((0, 2), np.float32)
    corners = empty if found is None else np.asarray(found, np.float32).reshape(-1, 2)
    edges = cv2.Laplacian(gray, cv2.CV_32F)
    return View(gray, corners, float(edges.var() / max(float(gray.var()), 1.0)))


class Follower:
    """Follows the corners of one image through those that come after it."""

    def __init__(self, first: View) -> None:
        """Begin with the image itself."""
        self._first = first
        self._places = first.corners

    def follow(self, later: View) -> Change:
        """Return how much changed from the first image to a later one of the same size."""
        count = len(self._first.corners)
        if not count or later.gray.shape != self._first.gray.shape:
            return Change(0.0, 1.0, 1.0)
        there, seen = _flow(self._first.gray, later.gray, self._first.corners, self._places)
        back, returned = _flow(later.gray, self._first.gray, there, self._first.corners)
        kept = seen & returned
        kept &= np.linalg.norm(back - self._first.corners, axis=1) < MAX_RETURN_ERROR
        height, width = later.gray.shape
        kept &= ((there >= 0) & (there < (width, height))).all(axis=1)
        if not kept.any():
            return Change(0.0, 1.0, 1.0)
        moved = there - self._first.corners
        middle = np.median(moved[kept], axis=0)
        # Where a lost corner is to be looked for next time.
        self._places = np.where(kept[:, None], there, self._first.corners + middle)
        side = max(height, width)
        motion, parallax = (
            float(np.percentile(np.linalg.norm(values, axis=1), 75)) / side
            for values in (moved[kept], moved[kept] - middle)
        )
        return Change(float(kept.mean()), motion, parallax)


def _flow(
    source: NDArray[np.uint8],
    target: NDArray[np.uint8],
    corners: NDArray[np.float32],
    guess: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return where corners (N, 2) of one image are in another one, and which were found."""
    places, found, _ = cv2.calcOpticalFlowPyrLK(
        source, target, corners, guess.copy(), winSize=WINDOW, maxLevel=LEVELS,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )  # fmt: skip
    return np.asarray(places, np.float32), np.asarray(found).ravel() == 1
