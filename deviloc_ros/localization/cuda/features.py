"""Dense features of images of one size, all on the device: one upload, nothing waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from cachetools import LRUCache
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.cuda.resampling import resampling_matrix
from deviloc_ros.localization.features import (
    CELL_ANCHOR,
    LEVELS,
    FeatureExtractor,
    network_sizes,
)
from deviloc_ros.localization.types import Features
from deviloc_ros.models.cuda import Recorded, upload
from deviloc_ros.models.xfeat import BATCH_NORM_EPS, CELL, load_xfeat

# Image sizes whose matrices are kept: one a camera.
_SIZES_KEPT = 16


@dataclass(frozen=True)
class Sampling:
    """How images of one size are resampled, and which features there can be.

    Attributes:
        rows: of each level (h, H), from the left.
        columns: of each level (W, w), from the right.
        kept: of each level, how many features are kept.
        cells: (C, 4), of all cells of all levels: keypoint x and y, scale, level.
    """

    rows: tuple[Tensor, ...]
    columns: tuple[Tensor, ...]
    kept: tuple[int, ...]
    cells: Tensor


@dataclass(frozen=True)
class FeaturesOnDevice(Features):
    """Features, and the image that they were found in.

    Attributes:
        pixels: (H, W) uint8 tensor, gray.
    """

    pixels: Tensor


class CudaFeatureExtractor(FeatureExtractor):
    """Does what FeatureExtractor does, in float32 as exactly as gray levels are whole numbers."""

    def __init__(self, config: LocalizerConfig, device: torch.device) -> None:
        """Load the network onto the device.

        Raises:
            InputError: the weights are missing.
        """
        self.device = device
        self._max_size = config.features.max_size
        self._num_keypoints = config.features.num_keypoints
        self._dtype: torch.dtype = getattr(torch, config.cuda.precision)
        backbone, _ = load_xfeat()
        # Tensor cores, which compute in 16 bits, take channels last.
        reduced = self._dtype is not torch.float32
        layout = torch.channels_last if reduced else torch.contiguous_format
        self._backbone = backbone.to(device, self._dtype)
        self._backbone.to(memory_format=layout)  # type: ignore[call-overload]
        self._samplings: LRUCache[tuple[int, int], Sampling] = LRUCache(_SIZES_KEPT)
        self._described = Recorded(self._encoded, config.cuda.graphs, device)

    @torch.inference_mode()
    def _extract_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        pixels = upload(np.stack(images), self.device)
        self._sampling(*images[0].shape)  # not while a graph is recorded
        keypoints, descriptors, scales, levels = self._described(pixels)
        return [
            FeaturesOnDevice(*of_image)
            for of_image in zip(keypoints, descriptors, scales, levels, pixels, strict=True)
        ]

    def _encoded(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Return keypoints, descriptors, scales, levels of images (B, H, W)."""
        sampling = self._sampling(*pixels.shape[1:])
        images = pixels.float()
        kept, descriptors, first = [], [], 0
        for rows, columns, count in zip(
            sampling.rows, sampling.columns, sampling.kept, strict=True
        ):
            # Whole gray levels, as the map's features were made from.
            image = (rows @ images @ columns).round_()[:, None]
            variance, mean = torch.var_mean(image, dim=(2, 3), keepdim=True, correction=0)
            image = (image - mean).mul_(torch.rsqrt(variance + BATCH_NORM_EPS))
            described, reliability = self._backbone.describe(image.to(self._dtype))
            kept.append(reliability.topk(count, dim=1).indices + first)
            descriptors.append(described)
            first += described.shape[1]
        index = torch.cat(kept, dim=1)
        every = torch.cat(descriptors, dim=1)
        chosen = every.gather(1, index[..., None].expand(-1, -1, every.shape[2])).float()
        cells = sampling.cells[index]
        return cells[..., :2], chosen, cells[..., 2], cells[..., 3].to(torch.uint8)

    def _sampling(self, height: int, width: int) -> Sampling:
        """Return what is the same for all images of a size."""
        known = self._samplings.get((height, width))
        if known is not None:
            return known
        rows, columns, kept, cells = [], [], [], []
        for level, ((wide, high), (_, share)) in enumerate(
            zip(network_sizes(width, height, self._max_size), LEVELS, strict=True)
        ):
            shrinks = wide < width
            rows.append(upload(resampling_matrix(height, high, shrinks), self.device))
            across = resampling_matrix(width, wide, shrinks).T
            columns.append(upload(np.ascontiguousarray(across), self.device))
            y, x = np.divmod(np.arange(wide // CELL * (high // CELL)), wide // CELL)
            scale = np.array([width / wide, height / high], dtype=np.float32)
            places = (np.stack([x, y], axis=1) * CELL + CELL_ANCHOR).astype(np.float32) * scale
            rest = np.tile(np.array([scale.mean(), level], np.float32), (len(places), 1))
            kept.append(min(round(self._num_keypoints * share), len(places)))
            cells.append(np.concatenate([places, rest], axis=1))
        sampling = Sampling(
            tuple(rows), tuple(columns), tuple(kept),
            upload(np.concatenate(cells).astype(np.float32), self.device),
        )  # fmt: skip
        self._samplings[height, width] = sampling
        return sampling
