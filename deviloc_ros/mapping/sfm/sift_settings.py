"""How densely SIFT looks at images: all it can where poses have to be found, else enough."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SiftSettings:
    """How densely SIFT looks at images.

    Attributes:
        max_image_size: longer side, pixels.
        max_features: of an image.
        first_octave: -1 doubles the image first: more features, at four times the cost.
    """

    max_image_size: int = 1600
    max_features: int = 8192
    first_octave: int = -1


FINE_SIFT = SiftSettings()
"""Where poses have to be found."""

COARSE_SIFT = SiftSettings(1600, 3072, 0)
"""Where poses are given: points then only begin what the multi-view step does with the localizer's
own features (docs/speed.md)."""

SMALL_SIZE = 800
"""Smaller images cost little, and have too few features if they are not doubled: along a wall whose
windows repeat, a map of half the points let three false poses pass that all points give away."""


def settings_for(sizes: Iterable[tuple[int, int]]) -> SiftSettings:
    """Return settings for images whose poses are given, of these widths and heights."""
    return FINE_SIFT if max(max(size) for size in sizes) <= SMALL_SIZE else COARSE_SIFT
