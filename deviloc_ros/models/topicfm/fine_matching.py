"""Sub-pixel refinement of coarse matches, on both images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deviloc_ros.models.topicfm.fine_network import DIM, WINDOW

# The fine map has four pixels a coarse cell and one a two network pixels.
FINE_PER_COARSE = 4
NETWORK_PER_FINE = 2
_DETECTOR_TEMPERATURE = 0.1


def gather_windows(fine_map: Tensor, cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """Cut the 5 x 5 window of the fine map around each coarse cell, zero outside the map.

    Args:
        fine_map: (128, H, W), channels last in memory.
        cells: (M,) int64, coarse cells in raster order.
        grid: (h, w) of the coarse map.

    Returns:
        (M, 25, 128), tokens in raster order.
    """
    index, inside = window_pixels(cells, grid, fine_map.shape)
    pixels = fine_map.permute(1, 2, 0).reshape(-1, len(fine_map))
    windows = F.embedding(index, pixels)
    # Hardly a match is so near the edge: a pass over all windows is saved.
    return windows if bool(inside.all()) else windows.masked_fill_(~inside[:, :, None], 0.0)


def window_pixels(
    cells: Tensor, grid: tuple[int, int], fine_shape: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Return the pixels of the 5 x 5 windows around coarse cells.

    Args:
        cells: (M,) int64, coarse cells in raster order.
        grid: (h, w) of the coarse map.
        fine_shape: (128, H, W) of the fine map.

    Returns:
        Their indices (M, 25) in raster order, and which of them lie inside of the map, (M, 25);
        those that do not have the index of a pixel at the edge.
    """
    height, width = fine_shape[1:]
    offsets = torch.arange(WINDOW, device=cells.device) - WINDOW // 2
    y = (cells // grid[1] * FINE_PER_COARSE)[:, None] + offsets
    x = (cells % grid[1] * FINE_PER_COARSE)[:, None] + offsets
    y_inside, x_inside = (y >= 0) & (y < height), (x >= 0) & (x < width)
    index = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
    inside = (y_inside[:, :, None] & x_inside[:, None, :]).flatten(1)
    return index.flatten(1), inside


def refine(
    query: Tensor, reference: Tensor, detector_scores: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Find the keypoint of each query window and its counterpart in the reference's.

    The detector's softmax gives the keypoint's place and its descriptor; the expectation of the
    descriptor's similarity to the reference's tokens gives the place there.

    Args:
        query: (M, 25, 128) features of the fine network.
        reference: (M, 25, 128) features of the fine network.
        detector_scores: (M, 25).

    Returns:
        Offsets from the window's centre in the query (M, 2) and the reference (M, 2), (x, y) in
        network pixels, and the peak of the similarity (M,); float32.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, reference = query.float(), reference.float()
        attention = (detector_scores.float() / _DETECTOR_TEMPERATURE).softmax(dim=1)
        descriptor = torch.einsum("mt,mtc->mc", attention, query)
        similarity = torch.einsum("mc,mtc->mt", descriptor, reference) / math.sqrt(DIM)
        heatmap = similarity.softmax(dim=1)
        grid = _window_grid(query.device)
        return attention @ grid, heatmap @ grid, heatmap.amax(dim=1)


def _window_grid(device: torch.device) -> Tensor:
    """Return the places (25, 2) of a window's tokens from its centre, x and y, network pixels."""
    axis = torch.arange(WINDOW, device=device, dtype=torch.float32) - WINDOW // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1) * NETWORK_PER_FINE
