"""Features of the fine map at points of the image."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def sample_features(feature_map: Tensor, points: Tensor, scale: Tensor) -> Tensor:
    """Interpolate a feature map bilinearly; beyond its edge features fade to zero.

    Args:
        feature_map: (C, H, W).
        points: (N, 2), pixels of the original image; pixel (0, 0) is map pixel (0, 0).
        scale: (2,), original pixels per pixel of the map in x and y.

    Returns:
        (N, C) float32.
    """
    size = points.new_tensor([feature_map.shape[2], feature_map.shape[1]])
    grid = points / scale * 2 / (size - 1) - 1
    sampled = F.grid_sample(
        feature_map[None].float(),
        grid[None, None].float(),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=True,
    )
    return sampled[0, :, 0].T
