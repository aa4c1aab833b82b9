"""Dense features of an image on two scales: XFeat's semi-dense mode (XFeat*)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.types import Features
from deviloc_ros.models.runtime import prepare
from deviloc_ros.models.xfeat import CELL, load_xfeat

# XFeat* looks at the image on a coarse and on a fine scale, relative to the working size, and takes
# these shares of its features from them (CVPR 2024, section 3.3 and the published implementation).
LEVELS = ((0.6, 0.2), (1.3, 0.8))
NETWORK_MULTIPLE = 32
# The point of its 8 x 8 cell that a descriptor stands for, network pixels from the cell's corner.
# Taking the corner, as the published code does, shifts a match by as much times the change of scale
# between two views. Measured (`./run bench cell_anchor`): here the shift does not depend on it.
CELL_ANCHOR = 3.5


class FeatureExtractor:
    """Runs XFeat's backbone on batches of images and keeps the most reliable cells, on the CPU."""

    def __init__(self, config: LocalizerConfig) -> None:
        """Load the network.

        Raises:
            InputError: the weights are missing, or OpenVINO is.
        """
        self.device = torch.device("cpu")
        self._max_size = config.features.max_size
        self._num_keypoints = config.features.num_keypoints
        backbone, _ = load_xfeat()
        example = torch.zeros(1, 1, 2 * NETWORK_MULTIPLE, 3 * NETWORK_MULTIPLE)
        self._network = prepare(backbone, config.features.backend, self.device, example)

    def extract(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        """Describe gray images.

        Args:
            images: each (H, W) uint8. Images of one size run as one batch.

        Returns:
            The features of each image, most reliable first within each level.
        """
        features: list[Features | None] = [None] * len(images)
        for size in sorted({image.shape for image in images}):
            indices = [i for i, image in enumerate(images) if image.shape == size]
            for i, result in zip(
                indices, self._extract_batch([images[i] for i in indices]), strict=True
            ):
                features[i] = result
        return [item for item in features if item is not None]

    def _extract_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[Features]:
        height, width = images[0].shape
        levels = []
        sizes = network_sizes(width, height, self._max_size)
        for level, (network_size, (_, share)) in enumerate(zip(sizes, LEVELS, strict=True)):
            # Each level is resampled from the original, which keeps detail that an image reduced to
            # the working size has lost.
            batch = torch.from_numpy(np.stack([_resize(image, network_size) for image in images]))
            batch = batch.to(self.device)[:, None].float()
            scale = torch.tensor(
                [width / network_size[0], height / network_size[1]], device=self.device
            )
            levels.append(self._describe(batch, level, round(self._num_keypoints * share), scale))
        return [
            Features(*(torch.cat(parts) for parts in zip(*image_levels, strict=True)))
            for image_levels in zip(*levels, strict=True)
        ]

    def _describe(
        self, batch: torch.Tensor, level: int, num_keypoints: int, scale: torch.Tensor
    ) -> list[tuple[torch.Tensor, ...]]:
        """Return keypoints, descriptors, scales, levels of each image on one level."""
        descriptors, reliability = self._network(batch)
        columns = batch.shape[3] // CELL
        kept = reliability.topk(min(num_keypoints, reliability.shape[1]), dim=1).indices
        anchor = torch.stack([kept % columns, kept // columns], dim=-1) * CELL + CELL_ANCHOR
        keypoints = anchor * scale
        descriptors = descriptors.gather(1, kept[..., None].expand(-1, -1, descriptors.shape[2]))
        scales = scale.mean().expand(kept.shape)
        return [
            (k, d.contiguous(), s.clone(), torch.full_like(s, level, dtype=torch.uint8))
            for k, d, s in zip(keypoints, descriptors, scales, strict=True)
        ]


def network_sizes(width: int, height: int, max_size: int) -> list[tuple[int, int]]:
    """Return width and height of the network's input on each level, for an image's size."""
    working = min(1.0, max_size / max(height, width))

    def rounded(side: int, relative_scale: float) -> int:
        blocks = round(side * working * relative_scale / NETWORK_MULTIPLE)
        return max(1, blocks) * NETWORK_MULTIPLE

    return [(rounded(width, scale), rounded(height, scale)) for scale, _ in LEVELS]


def _resize(image: NDArray[np.uint8], size: Sequence[int]) -> NDArray[np.uint8]:
    shrinks = size[0] < image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, tuple(size), interpolation=method), dtype=np.uint8)


def normalised(descriptors: torch.Tensor) -> torch.Tensor:
    """Return descriptors of unit length."""
    return F.normalize(descriptors, dim=-1)
