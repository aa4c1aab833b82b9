"""Patches of reference images found in a query, all at once; see photometric/lucas_kanade.py.

Every patch takes the same steps as on the CPU, in float64; what has converged, or cannot be found,
stays as it is. So nothing waits, and all steps can be recorded as one graph.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deviloc_ros.localization.photometric.lucas_kanade import (
    CONVERGED,
    HALF,
    LEAST_VARIANCE,
    MAX_ITERATIONS,
    MAX_STEP,
    MIN_GAIN,
    WEIGHT_SIGMA,
)
from deviloc_ros.models.cuda import upload

SIDE = 2 * HALF + 1
# Columns of a patch that is looked for: its middle, where it is looked for, its warp row by row,
# and the place of its image.
MIDDLE, START, WARP, PLACE = slice(0, 2), slice(2, 4), slice(4, 8), 8
ASKED_SIZE = 9
# Columns of what was found: keypoint, covariance row by row, correlation, gain.
KEYPOINT, COVARIANCE, CORRELATION, GAIN = slice(0, 2), slice(2, 6), 6, 7


class PatchSearch:
    """Finds patches of images on a device in another image."""

    def __init__(self, device: torch.device) -> None:
        """Upload what is the same for all patches."""
        step = np.arange(SIDE) - HALF
        y, x = (each.ravel() for each in np.meshgrid(step, step, indexing="ij"))
        weight = np.exp(-(x**2 + y**2) / (2 * WEIGHT_SIGMA**2))
        self._pixels = float(weight.sum())
        self._weight = upload(weight / self._pixels, device)
        self._steps = upload(np.stack([x, y]).astype(np.float64), device)
        # [[a, b], [b, c]] has the inverse [[c, -b], [-b, a]] / (a c - b^2).
        self._signs = upload(np.array([1.0, -1.0, -1.0, 1.0]), device)

    def __call__(self, images: Tensor, sizes: Tensor, query: Tensor, asked: Tensor) -> Tensor:
        """Find patches.

        Args:
            images: (P, H, W) uint8.
            sizes: (P, 2) float64, width and height of each.
            query: (h, w) float64, gray levels.
            asked: (N, 9) float64, see the columns above; pixels in the COLMAP convention. NaN: not
                looked for.

        Returns:
            (N, 8) float64, see the columns above and `AlignedPatches`.
        """
        place = asked[:, PLACE].nan_to_num().long()
        warp = asked[:, WARP].view(-1, 2, 2)
        around, inside = self._around(images, place, asked[:, MIDDLE] - 0.5, sizes[place])
        template, derivative, dots = self._prepared(around)
        contrast = dots[:, 0]
        weighted = derivative * self._weight
        product = weighted @ derivative.mT
        a, b, _, c = product.flatten(1).unbind(1)
        determinant = a * c - b * b
        known = inside & (contrast > 0) & (determinant > 0)
        inverse = product.flatten(1).flip(1) * self._signs / determinant[:, None]
        warped = warp @ inverse.view(-1, 2, 2)
        # From the products of the query's patch to the shift in the reference, and in the query.
        solving = torch.cat([inverse.view(-1, 2, 2), warped], dim=1)
        basis = torch.cat([template[:, None] * self._weight, weighted], dim=1)
        offsets = (warp @ self._steps).mT
        at, value, found = self._iterated(query, asked[:, START], warp, offsets, basis, solving,
                                          contrast, known)  # fmt: skip
        gain = (basis[:, 0] * value).sum(dim=1) / contrast
        total = value @ self._weight
        variance = (value * value) @ self._weight - total * total
        found = found & (variance > 0)
        alike = (gain * (contrast / variance).sqrt()).clamp(max=1.0)
        squared = gain * gain
        unlike = (variance / squared - contrast).maximum(LEAST_VARIANCE / squared) / self._pixels
        covariance = unlike[:, None] * (warped @ warp.mT).flatten(1)
        columns = torch.cat([at, covariance, alike[:, None], gain[:, None]], dim=1)
        nothing = F.pad(asked[:, START], (0, columns.shape[1] - 2))
        return torch.where(found[:, None], columns, nothing)

    def _around(
        self, images: Tensor, place: Tensor, middle: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return patches with a rim, (N, SIDE + 2, SIDE + 2), and which lie inside, (N,)."""
        margin = HALF + 1
        inside = ((middle >= margin) & (middle + margin < size - 1)).all(dim=1)
        corner = middle.nan_to_num().floor()
        right, down = (middle - corner)[:, :, None, None].unbind(1)
        steps = torch.arange(-margin, margin + 2, device=images.device)
        x, y = (corner.long()[:, :, None] + steps).unbind(1)
        height, width = images.shape[1:]
        row = place[:, None] * height + y.clamp(0, height - 1)
        index = row[:, :, None] * width + x.clamp(0, width - 1)[:, None]
        pixels = images.view(-1)[index].double()
        rows = torch.lerp(pixels[:, :, :-1], pixels[:, :, 1:], right)
        return torch.lerp(rows[:, :-1], rows[:, 1:], down), inside

    def _prepared(self, around: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return patches without mean (N, S), their derivatives (N, 2, S), and products (N, 3).

        S are the pixels. The derivatives are without mean and without the patch's own part; the
        products are those of the patch with itself and with its derivatives before that.
        """
        by_x = (around[:, 1:-1, 2:] - around[:, 1:-1, :-2]) / 2
        by_y = (around[:, 2:, 1:-1] - around[:, :-2, 1:-1]) / 2
        every = torch.stack([around[:, 1:-1, 1:-1], by_x, by_y], dim=1).flatten(2)
        every = every - (every @ self._weight)[:, :, None]
        template = every[:, 0]
        dots = (every @ (template * self._weight)[:, :, None])[:, :, 0]
        own = (dots[:, 1:] / dots[:, :1])[:, :, None] * template[:, None]
        return template, every[:, 1:] - own, dots

    def _iterated(
        self,
        query: Tensor,
        start: Tensor,
        warp: Tensor,
        offsets: Tensor,
        basis: Tensor,
        solving: Tensor,
        contrast: Tensor,
        active: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return keypoints (N, 2), the query's patches there (N, S), and which converged (N,)."""
        height, width = query.shape
        # `grid_sample` counts from -1, the middle of the first pixel, to 1, that of the last.
        scale = [2 / (width - 1), 2 / (height - 1)]
        offsets = torch.stack([each * s for each, s in zip(offsets.unbind(2), scale, strict=True)],
                              dim=2)  # fmt: skip
        reach = HALF * warp.abs().sum(dim=2)
        last = torch.stack([width - 1 - reach[:, 0], height - 1 - reach[:, 1]], dim=1)
        at = start - 0.5
        value = torch.zeros_like(basis[:, 0])
        converged = torch.zeros_like(active)
        for _ in range(MAX_ITERATIONS):
            x, y = at.unbind(1)
            middle = torch.stack([x * scale[0] - 1, y * scale[1] - 1], dim=1)
            grid = (middle[:, None] + offsets)[None]
            seen = F.grid_sample(query[None, None], grid, align_corners=True)[0, 0]
            products = torch.bmm(basis, seen[:, :, None])
            gain = products[:, 0] / contrast[:, None]
            active = active & ((at >= reach) & (at < last)).all(dim=1) & (gain[:, 0] >= MIN_GAIN)
            value = torch.where(active[:, None], seen, value)
            steps = torch.bmm(solving, products[:, 1:])[:, :, 0] / gain
            shift, moved = steps[:, :2], steps[:, 2:]
            length = torch.linalg.vector_norm(shift, dim=1)
            shorter = MAX_STEP / length.clamp(min=MAX_STEP)
            at = torch.where(active[:, None], at - moved * shorter[:, None], at)
            done = active & (length < CONVERGED)
            converged = converged | done
            active = active & ~done
        return at + 0.5, value, converged
