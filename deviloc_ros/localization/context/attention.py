"""Features of a query matched with those of several references, with attention between images.

A nearest neighbour is found for each feature by itself. Attention looks at all features of both
images at once, so that what is alike in many places is told apart by what lies around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.features import normalised
from deviloc_ros.models.lighterglue import load_lighterglue
from deviloc_ros.models.runtime import prepare
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE

# Least probability of a match (the published value).
MIN_PROBABILITY = 0.1


@dataclass(frozen=True)
class AttentionFeatures:
    """What attention sees of one image.

    Attributes:
        index: (N,) int64, which of the image's features they are.
        descriptors: (N, D) float32 tensor, unit length.
        places: (N, 2) float32 tensor, from the image's centre, in halves of its longer side.
    """

    index: NDArray[np.int64]
    descriptors: torch.Tensor
    places: torch.Tensor


class AttentionMatcher:
    """Runs LighterGlue on a query and references, all in one batch."""

    def __init__(self, config: LocalizerConfig, device: torch.device) -> None:
        """Load the network onto the device.

        Raises:
            InputError: the weights are missing.
        """
        self._num_keypoints = config.matching.context_keypoints
        self._device = device
        example = torch.zeros(2, 8, DESCRIPTOR_SIZE), torch.zeros(2, 8, 2)
        backend = config.features.backend
        self._network = prepare(load_lighterglue(), backend, device, *example, *example)

    def choose(
        self,
        keypoints: torch.Tensor,
        descriptors: torch.Tensor,
        levels: torch.Tensor,
        size: tuple[int, int],
    ) -> AttentionFeatures:
        """Choose the most reliable features of an image.

        Args:
            keypoints: (N, 2), pixels.
            descriptors: (N, D), most reliable first within each level.
            levels: (N,), of the image pyramid.
            size: width and height of the image, pixels.
        """
        index = torch.nonzero(levels == levels.max())[:, 0][: self._num_keypoints]
        middle = torch.tensor(size, dtype=torch.float32, device=self._device) / 2
        return AttentionFeatures(
            index.cpu().numpy(),
            normalised(descriptors[index]),
            (keypoints[index] - middle) / middle.max(),
        )

    def match(
        self, query: AttentionFeatures, references: Sequence[AttentionFeatures]
    ) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Match a query with several references.

        Returns:
            Of each reference the indices of matched features of the query and of its own, (K,).
        """
        result: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        nothing = np.zeros(0, dtype=np.int64)
        result = [(nothing, nothing)] * len(references)
        # References with equally many features run as one batch: padding would be attended to.
        for count in sorted({len(reference.index) for reference in references} - {0}):
            rows = [i for i, reference in enumerate(references) if len(reference.index) == count]
            batch = [references[i] for i in rows]
            (scores,) = self._network(
                query.descriptors.expand(len(rows), -1, -1).contiguous(),
                query.places.expand(len(rows), -1, -1).contiguous(),
                torch.stack([reference.descriptors for reference in batch]),
                torch.stack([reference.places for reference in batch]),
            )
            best_value, best = scores.max(dim=2)
            back = scores.argmax(dim=1)
            mutual = back.gather(1, best) == torch.arange(best.shape[1], device=best.device)
            found = mutual & (best_value > np.log(MIN_PROBABILITY))
            for row, of_query, of_reference, reference in zip(
                rows, found.cpu().numpy(), best.cpu().numpy(), batch, strict=True
            ):
                result[row] = query.index[of_query], reference.index[of_reference[of_query]]
        return result
