"""Whether images are rectified, so that P of their camera_info holds in the place of K and D.

Nothing in an Image says so. By convention its topic does (image_proc): `image_rect`,
`image_rect_color`. What the calibration says against that is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from deviloc_ros.messages.camera_info import CameraInfoMessage

RECTIFIED, RAW = frozenset({"rect", "rectified"}), frozenset({"raw", "unrectified"})
"""Words of topics; a word is what stands between slashes and underscores."""
LARGEST_RATIO = 1.5
"""Of focal lengths of P and K; rectification changes them by less, another camera by more."""


@dataclass(frozen=True)
class Rectification:
    """What was decided.

    Attributes:
        rectified: P of camera_info holds, and K and D do not.
        text: why, and what of the calibration speaks against it, for people.
        doubtful: something speaks against it.
    """

    rectified: bool
    text: str
    doubtful: bool = False

    def __str__(self) -> str:
        """Return one line for people."""
        held = "P holds (rectified)" if self.rectified else "K and D hold (not rectified)"
        return f"{held}: {self.text}"


def names_rectified(topic: str) -> bool:
    """Whether a topic's name says that its images are rectified.

    The last part of the name that says anything decides, and "rect" goes before "raw" in it:
    RealSense's `infra1/image_rect_raw` is rectified, `rect_lab/image_raw` is not.
    """
    for part in reversed(topic.lower().split("/")):
        words = set(re.split(r"[^a-z0-9]+", part))
        if words & (RECTIFIED | RAW):
            return bool(words & RECTIFIED)
    return False


def rectification(
    setting: Literal["auto", "yes", "no"], topic: str, info: CameraInfoMessage
) -> Rectification:
    """Decide whether the images of a topic are rectified.

    Args:
        setting: `image.rectified`; auto: the topic's name decides.
        topic: of the images, remaps applied.
        info: their calibration, which is compared with the decision.
    """
    rectified = names_rectified(topic) if setting == "auto" else setting == "yes"
    why = (
        f"the name {topic} has {'' if rectified else 'no '}'rect' as a word"
        if setting == "auto"
        else f"image.rectified is {setting}"
    )
    k, p = _matrix(info.k, 3), _matrix(info.p, 4)[:, :3]
    distorted = bool(np.any(np.asarray(info.d, dtype=np.float64)))
    rotated = not np.allclose(_matrix(info.r, 3), np.eye(3)) and bool(np.any(_matrix(info.r, 3)))
    if not rectified:
        if distorted or not _is_calibrated(p) or (np.allclose(p, k) and not rotated):
            return Rectification(False, why)
        doubt = "D is zero and P differs from K; if the images are rectified, set rectified to yes"
        return Rectification(False, f"{why}, but {doubt}", doubtful=True)
    if not _is_calibrated(p):
        if _is_calibrated(k) and not distorted:
            return Rectification(False, f"{why}; P is not set, and K is the same as D is zero")
        return Rectification(True, f"{why}, but P is not set", doubtful=True)
    if _is_calibrated(k) and not _alike(float(p[0, 0]), float(k[0, 0])):
        doubt = f"P's focal length is {p[0, 0]:g} and K's {k[0, 0]:g}"
        return Rectification(True, f"{why}, but {doubt}", doubtful=True)
    return Rectification(True, why)


def _matrix(values: Any, columns: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.asarray(values, dtype=np.float64).reshape(3, columns)


def _is_calibrated(matrix: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> bool:
    return bool(np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0)


def _alike(a: float, b: float) -> bool:
    """Return whether one focal length is at most LARGEST_RATIO times the other."""
    return max(a, b) <= LARGEST_RATIO * min(a, b)
