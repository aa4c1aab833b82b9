"""Images reduced and enlarged on a device, with the weights that OpenCV gives to pixels.

Both ways of resampling are linear and separable: a product with a matrix from the left, and one
from the right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def resampling_matrix(size: int, new_size: int, shrinks: bool) -> NDArray[np.float32]:
    """Return what one side of an image is resampled by, (new_size, size); rows add up to 1.

    Args:
        size: pixels along the side.
        new_size: pixels after resampling.
        shrinks: take means over the area of each new pixel (`cv2.INTER_AREA`); else interpolate
            linearly between the centres of pixels (`cv2.INTER_LINEAR`).
    """
    scale = size / new_size
    if shrinks and scale >= 1:
        begin = (np.arange(new_size) * scale)[:, None]
        pixels = np.arange(size)
        overlap = np.minimum(begin + scale, pixels + 1) - np.maximum(begin, pixels)
        weights = np.clip(overlap, 0.0, None)
    else:
        centres = (np.arange(new_size) + 0.5) * scale - 0.5
        centres = np.clip(centres, 0, size - 1)
        weights = np.clip(1 - np.abs(centres[:, None] - np.arange(size)), 0.0, None)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)
