"""The loss PIN was trained with (evaluated on merged matches of one query)."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from deviloc_ros.models.published.merging import Matches2D3D

_MAX_TRAINED_CONFIDENCE = 0.999
_MIN_POINTS = 50
_INLIER_PIXELS = 8.0
_CONFIDENCE_WEIGHT = 0.5


def training_loss(
    matches: Matches2D3D, depth_map: Tensor, intrinsics: Tensor, camera_from_map: Tensor
) -> Tensor:
    """Return position loss + 0.5 confidence loss; NaN where no match has a known depth.

    Position: mean distance to the true point in units of the scene's depth deviation, where more
    than 50 matches count. Confidence: binary cross-entropy against "reprojects within 8 px".

    Args:
        matches: merged matches of a query, not thresholded by confidence.
        depth_map: (D, D), true depth of the query image padded to a square, 0 where unknown.
        intrinsics: (3, 3) of the query.
        camera_from_map: (4, 4) of the query.
    """
    depth = _look_up(depth_map, matches.keypoints)
    # Confidence 1 is an observed point: nothing of it was inferred.
    keep = (depth > 0) & (matches.confidence < _MAX_TRAINED_CONFIDENCE)
    keypoints, depth, confidence = matches.keypoints[keep], depth[keep], matches.confidence[keep]
    points = matches.points[keep] @ camera_from_map[:3, :3].T + camera_from_map[:3, 3]
    pixels = torch.cat([keypoints, torch.ones_like(keypoints[:, :1])], dim=1)
    truth = pixels @ torch.linalg.inv(intrinsics).T * depth[:, None]

    count = len(truth)
    mean = truth[:, 2].sum() / (count + 1e-8)
    variance = (truth[:, 2] - mean).square().sum() / (count + 1e-8)
    deviation = variance.clamp(min=1e-12).sqrt()
    distance = torch.linalg.vector_norm(points - truth, dim=1) / deviation
    position = distance.sum() / (count + 1e-8) if count > _MIN_POINTS else distance.sum() * 0

    homogeneous = points.detach() @ intrinsics.T
    projected = homogeneous[:, :2] / (homogeneous[:, 2:] + 1e-6)
    error = torch.linalg.vector_norm(projected - keypoints, dim=1)
    label = (error < _INLIER_PIXELS).to(confidence.dtype)
    loss: Tensor = position + _CONFIDENCE_WEIGHT * F.binary_cross_entropy(confidence, label)
    return loss


def _look_up(depth_map: Tensor, keypoints: Tensor) -> Tensor:
    size = keypoints.new_tensor([depth_map.shape[1], depth_map.shape[0]])
    grid = keypoints * 2 / (size - 1) - 1
    sampled = F.grid_sample(
        depth_map[None, None], grid[None, None], mode="nearest", align_corners=True
    )
    return sampled[0, 0, 0]
