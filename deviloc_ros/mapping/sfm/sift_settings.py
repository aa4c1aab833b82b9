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

COARSE_SIZE, SMALL_SIZE = 1024, 800


def coarse_sift(sizes: Iterable[tuple[int, int]]) -> SiftSettings:
    """Return settings for images whose poses are given, of these widths and heights.

    Points then only begin what the multi-view step does with the localizer's own features:
    castle-P19 is localized as exactly with a tenth of the points (docs/speed.md). Small images are
    doubled, for they would have too few.
    """
    largest = max(max(size) for size in sizes)
    return SiftSettings(COARSE_SIZE, 2048, -1 if largest <= SMALL_SIZE else 0)
