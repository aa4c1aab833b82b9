"""Which reference keypoints are observed SfM points, and the fine features at them."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from scipy.spatial import cKDTree
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


# torch's cdist computes distances by a matrix product where a side has more points than this.
_DIRECT_LIMIT = 25
# Distances held at once: 16 MiB of float32.
_MAX_DISTANCES = 4 * 1024 * 1024
# What fills up a shorter list of observations, pixels: further away than any image is large.
NOWHERE = 1e6
# On a GPU: 256 MiB of float64.
_MAX_DISTANCES_ON_GPU = 32 * 1024 * 1024


def assign_observed(observations: Tensor, keypoints: Tensor, radius: float) -> Tensor:
    """Find the observed point of each keypoint as the published code does.

    Distances come from the same float32 formula as there, which for many points is a matrix
    product with errors up to 0.7 px; of equally near observations the last one wins.

    Args:
        observations: (N, 2) float32, pixels of the reference.
        keypoints: (M, 2) float32, pixels of the reference.
        radius: how near the observation must be, exclusive, pixels.

    Returns:
        (M,) int64, index of the observation, -1 where none is near enough.
    """
    count = len(observations)
    assigned = keypoints.new_full((len(keypoints),), -1, dtype=torch.int64)
    if count == 0 or len(keypoints) == 0:
        return assigned
    product = max(count, len(keypoints)) > _DIRECT_LIMIT
    mode = "use_mm_for_euclid_dist" if product else "donot_use_mm_for_euclid_dist"
    block = max(1, _MAX_DISTANCES // count)
    for start in range(0, len(keypoints), block):
        part = slice(start, start + block)
        distances = torch.cdist(observations[None], keypoints[None, part], compute_mode=mode)[0]
        nearest = distances.amin(dim=0)
        near = (nearest < radius).nonzero().squeeze(1)
        # Few keypoints have one near enough: only theirs are looked at again, for ties.
        equal = distances[:, near] == nearest[near]
        last = count - 1 - equal.flip(0).to(torch.uint8).argmax(dim=0)
        assigned[start + near] = last
    return assigned


def assign_at_once(observations: Tensor, keypoints: Tensor, radius: float, exactly: bool) -> Tensor:
    """Do what `assign_observed` does, or `assign_observed_exactly`, without waiting for a GPU.

    Args:
        observations: (K, N, 2), of K references; NOWHERE is no observation.
        keypoints: (K, M, 2).
        radius: see `assign_observed`.
        exactly: with exact distances.

    Returns:
        (K, M) int64.
    """
    views, count = observations.shape[:2]
    product = not exactly and max(count, keypoints.shape[1]) > _DIRECT_LIMIT
    mode = "use_mm_for_euclid_dist" if product else "donot_use_mm_for_euclid_dist"
    if exactly:
        observations, keypoints = observations.double(), keypoints.double()
    assigned = []
    for part in torch.split(keypoints, max(1, _MAX_DISTANCES_ON_GPU // (views * count)), dim=1):
        distances = torch.cdist(observations, part, compute_mode=mode)
        nearest, index = distances.min(dim=1)
        if not exactly:
            equal = (distances == nearest[:, None]).flip(1).to(torch.uint8)
            index = count - 1 - equal.argmax(dim=1)
        assigned.append(torch.where(nearest < radius, index, -1))
    return torch.cat(assigned, dim=1)


def assign_observed_exactly(observations: Tensor, keypoints: Tensor, radius: float) -> Tensor:
    """Find the observed point of each keypoint with exact distances; of equals the first wins.

    Arguments and result as in `assign_observed`, in any precision.
    """
    assigned = torch.full((len(keypoints),), -1, dtype=torch.int64)
    if len(observations) and len(keypoints):
        tree = cKDTree(observations.detach().cpu().double().numpy())
        distances, indices = tree.query(keypoints.detach().cpu().double().numpy())
        near = torch.from_numpy(distances) < radius
        assigned[near] = torch.from_numpy(indices).long()[near]
    return assigned.to(keypoints.device)
