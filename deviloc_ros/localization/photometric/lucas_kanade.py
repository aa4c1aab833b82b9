"""Where a patch of one image lies in another, to a fraction of a pixel.

Lucas and Kanade, "An iterative image registration technique", IJCAI 1981, in the inverse
compositional form (Baker and Matthews, "Lucas-Kanade 20 years on", IJCV 2004): what the patch of
the first image says about a shift is computed once. A change of contrast and brightness is solved
for along with the shift (Hager and Belhumeur, "Efficient region tracking with parametric models of
geometry and illumination", PAMI 1998).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

# Smoothed by this much, pixels, images can be interpolated and differentiated.
SMOOTHING = 0.8
# Patches are squares of 2 * HALF + 1 pixels of the first image, their middle counts most.
HALF = 5
WEIGHT_SIGMA = 3.0
MAX_ITERATIONS = 8
# Steps are at most so long, and end the iteration when shorter than the second, pixels.
MAX_STEP = 1.5
CONVERGED = 0.02
# Of contrast, second image by first; where less is left, nothing can be recognised.
MIN_GAIN = 0.1
# Variance of a pixel's brightness where patches agree better than cameras can see, gray levels.
LEAST_VARIANCE = 1.0


@dataclass(frozen=True)
class AlignedPatches:
    """Where patches were found.

    Attributes:
        keypoints: (N, 2) float64, pixels of the second image.
        covariance: (N, 2, 2) float64 of them, squared pixels: from how much the patches still
            differ, and how much they show, as if every pixel erred by itself.
        correlation: (N,) float64 in [-1, 1], of the two patches; 0 where the second was not found.
        gain: (N,) float64, contrast of the second patch by that of the first; 0 where not found.
    """

    keypoints: NDArray[np.float64]
    covariance: NDArray[np.float64]
    correlation: NDArray[np.float64]
    gain: NDArray[np.float64]


def align_patches(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    first_keypoints: NDArray[np.float64],
    second_keypoints: NDArray[np.float64],
    second_from_first: NDArray[np.float64],
) -> AlignedPatches:
    """Find patches around keypoints of a first image in a second one.

    Args:
        first: (H, W), gray.
        second: (H', W'), gray.
        first_keypoints: (N, 2), the middles of the patches: pixels, COLMAP convention.
        second_keypoints: (N, 2), where they are looked for, within two pixels or so.
        second_from_first: (N, 2, 2), what a step by one pixel in the first image is in the second.
    """
    count = len(first_keypoints)
    found = AlignedPatches(
        np.array(second_keypoints, dtype=np.float64), np.zeros((count, 2, 2)), *np.zeros((2, count))
    )
    _align(
        first, second, np.asarray(first_keypoints), np.asarray(second_from_first),
        found.keypoints, found.covariance, found.correlation, found.gain,
    )  # fmt: skip
    return found


@numba.njit(nogil=True, cache=True)
def _align(
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    middles: NDArray[np.float64],
    warps: NDArray[np.float64],
    keypoints: NDArray[np.float64],
    covariance: NDArray[np.float64],
    correlation: NDArray[np.float64],
    gains: NDArray[np.float64],
) -> None:
    """Fill the last four, of which keypoints are the first guess."""
    side = 2 * HALF + 1
    around = np.empty((side + 2, side + 2))
    template, by_x, by_y = np.empty((side, side)), np.empty((side, side)), np.empty((side, side))
    weight = np.empty((side, side))
    for i in range(side):
        for j in range(side):
            squared = (i - HALF) ** 2 + (j - HALF) ** 2
            weight[i, j] = np.exp(-squared / (2 * WEIGHT_SIGMA**2))
    pixels = weight.sum()
    weight /= pixels
    for n in range(len(middles)):
        # The centre of the first pixel is at 0.5 and its index 0.
        x, y = middles[n, 0] - 0.5, middles[n, 1] - 0.5
        margin = HALF + 1.0
        if not _inside(first, x, y, margin, margin):
            continue
        for i in range(side + 2):
            for j in range(side + 2):
                around[i, j] = _at(first, x + j - HALF - 1, y + i - HALF - 1)
        contrast, a, b, c = _prepare(around, weight, template, by_x, by_y)
        determinant = a * c - b * b
        if contrast <= 0 or determinant <= 0:
            continue
        warp = warps[n]
        reach_x = HALF * (abs(warp[0, 0]) + abs(warp[0, 1]))
        reach_y = HALF * (abs(warp[1, 0]) + abs(warp[1, 1]))
        at_x, at_y = keypoints[n, 0] - 0.5, keypoints[n, 1] - 0.5
        gain, variance, length = 0.0, 0.0, 0.0
        converged = False
        for _ in range(MAX_ITERATIONS):
            if not _inside(second, at_x, at_y, reach_x, reach_y):
                break
            alike, along_x, along_y, total, squares = 0.0, 0.0, 0.0, 0.0, 0.0
            for i in range(side):
                for j in range(side):
                    value = _at(
                        second,
                        at_x + warp[0, 0] * (j - HALF) + warp[0, 1] * (i - HALF),
                        at_y + warp[1, 0] * (j - HALF) + warp[1, 1] * (i - HALF),
                    )
                    weighted = weight[i, j] * value
                    total += weighted
                    squares += weighted * value
                    alike += weighted * template[i, j]
                    along_x += weighted * by_x[i, j]
                    along_y += weighted * by_y[i, j]
            gain, variance = alike / contrast, squares - total * total
            if gain < MIN_GAIN:
                break
            shift_x = (c * along_x - b * along_y) / determinant / gain
            shift_y = (a * along_y - b * along_x) / determinant / gain
            length = np.sqrt(shift_x * shift_x + shift_y * shift_y)
            shorter = MAX_STEP / max(length, MAX_STEP)
            # The second image shows what lies by the shift further on in the first.
            at_x -= (warp[0, 0] * shift_x + warp[0, 1] * shift_y) * shorter
            at_y -= (warp[1, 0] * shift_x + warp[1, 1] * shift_y) * shorter
            if length < CONVERGED:
                converged = True
                break
        if not converged or variance <= 0:
            continue
        keypoints[n, 0], keypoints[n, 1] = at_x + 0.5, at_y + 0.5
        gains[n] = gain
        correlation[n] = min(1.0, gain * np.sqrt(contrast / variance))
        unlike = max(variance / (gain * gain) - contrast, LEAST_VARIANCE / (gain * gain))
        scale = unlike / pixels / determinant
        for row in range(2):
            for column in range(2):
                covariance[n, row, column] = scale * (
                    warp[row, 0] * (c * warp[column, 0] - b * warp[column, 1])
                    + warp[row, 1] * (a * warp[column, 1] - b * warp[column, 0])
                )


@numba.njit(nogil=True, cache=True)
def _prepare(
    around: NDArray[np.float64],
    weight: NDArray[np.float64],
    template: NDArray[np.float64],
    by_x: NDArray[np.float64],
    by_y: NDArray[np.float64],
) -> tuple[float, float, float, float]:
    """Fill a patch without its mean, and its derivatives without mean and the patch's own part.

    Returns:
        The patch's variance, and a, b, c of the matrix [[a, b], [b, c]] that the products of the
        derivatives make.
    """
    side = len(template)
    mean, mean_x, mean_y = 0.0, 0.0, 0.0
    for i in range(side):
        for j in range(side):
            template[i, j] = around[i + 1, j + 1]
            by_x[i, j] = (around[i + 1, j + 2] - around[i + 1, j]) / 2
            by_y[i, j] = (around[i + 2, j + 1] - around[i, j + 1]) / 2
            mean += weight[i, j] * template[i, j]
            mean_x += weight[i, j] * by_x[i, j]
            mean_y += weight[i, j] * by_y[i, j]
    contrast, part_x, part_y = 0.0, 0.0, 0.0
    for i in range(side):
        for j in range(side):
            template[i, j] -= mean
            by_x[i, j] -= mean_x
            by_y[i, j] -= mean_y
            contrast += weight[i, j] * template[i, j] ** 2
            part_x += weight[i, j] * template[i, j] * by_x[i, j]
            part_y += weight[i, j] * template[i, j] * by_y[i, j]
    a, b, c = 0.0, 0.0, 0.0
    if contrast > 0:
        for i in range(side):
            for j in range(side):
                by_x[i, j] -= part_x / contrast * template[i, j]
                by_y[i, j] -= part_y / contrast * template[i, j]
                a += weight[i, j] * by_x[i, j] ** 2
                b += weight[i, j] * by_x[i, j] * by_y[i, j]
                c += weight[i, j] * by_y[i, j] ** 2
    return contrast, a, b, c


@numba.njit(nogil=True, cache=True, inline="always")
def _inside(image: NDArray[np.uint8], x: float, y: float, reach_x: float, reach_y: float) -> bool:
    """Whether all pixels that a patch is interpolated from are in the image; False of NaN."""
    height, width = image.shape
    return (
        x - reach_x >= 0
        and y - reach_y >= 0
        and x + reach_x < width - 1
        and y + reach_y < height - 1
    )


@numba.njit(nogil=True, cache=True, inline="always")
def _at(image: NDArray[np.uint8], x: float, y: float) -> float:
    """Return the bilinearly interpolated brightness at column x and row y, both inside."""
    column, row = int(x), int(y)
    right, down = x - column, y - row
    upper = image[row, column] * (1 - right) + image[row, column + 1] * right
    lower = image[row + 1, column] * (1 - right) + image[row + 1, column + 1] * right
    return float(upper * (1 - down) + lower * down)
