"""Features of a query matched with those of several references, with attention between images.

A nearest neighbour is found for each feature by itself. Attention looks at all features of both
images at once, so that what is alike in many places is told apart by what lies around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.features import normalised
from deviloc_ros.localization.matching.mutual_nearest_neighbours import Pairs
from deviloc_ros.models.lighterglue import LighterGlue, load_lighterglue
from deviloc_ros.models.runtime import Network, choose_backend, prepare
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE

# Least probability of a match (the published value).
MIN_PROBABILITY = 0.1
# Features that the layers after the first see, of each image: three quarters of the work is saved,
# and what is left out is hardly ever matched (`./run bench pairs`).
WIDTHS = (1536, 1024, 768)
MAX_BATCH = 32
CPU = torch.device("cpu")


@dataclass(frozen=True)
class AttentionFeatures:
    """What attention sees of one image.

    Attributes:
        index: (N,) int64 tensor, which of the image's features they are.
        descriptors: (N, D) float32 tensor, unit length.
        places: (N, 2) float32 tensor, from the image's centre, in halves of its longer side.
    """

    index: torch.Tensor
    descriptors: torch.Tensor
    places: torch.Tensor


class AttentionMatcher:
    """Runs LighterGlue on a query and references, all in one batch, on the CPU."""

    def __init__(
        self,
        config: LocalizerConfig,
        load: Callable[[Sequence[int]], LighterGlue] = load_lighterglue,
    ) -> None:
        """Load the network.

        Args:
            config: the configuration.
            load: makes the network that narrows to these widths; other weights in experiments.

        Raises:
            InputError: the weights are missing.
        """
        self._load = load
        self._num_keypoints = config.matching.context_keypoints
        self._backend = config.features.backend
        self._whole = self._network(())
        # What narrows is loaded where images can have so many features.
        most = min(config.features.num_keypoints, self._num_keypoints)
        self._narrowing = self._network(WIDTHS) if most >= WIDTHS[0] else self._whole
        # Pairs that come one by one fill the cores of a CPU, and need one compiled graph.
        self._batch = 1 if choose_backend(self._backend, CPU) == "openvino" else MAX_BATCH

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
        middle = torch.tensor(size, dtype=torch.float32) / 2
        return AttentionFeatures(
            index,
            normalised(descriptors[index]),
            (keypoints[index] - middle) / middle.max(),
        )

    def match(
        self, query: AttentionFeatures, references: Sequence[AttentionFeatures]
    ) -> list[Pairs]:
        """Match a query with several references.

        Returns:
            Of each reference the indices of matched features of the query and of its own, (K,).
        """
        nothing = torch.zeros(0, dtype=torch.int64)
        result = [(nothing, nothing)] * len(references)
        if not len(query.index):
            return result
        # References with equally many features run as one batch: padding would be attended to.
        for count in sorted({len(reference.index) for reference in references} - {0}):
            rows = [i for i, reference in enumerate(references) if len(reference.index) == count]
            for begin in range(0, len(rows), self._batch):
                part = rows[begin : begin + self._batch]
                found = self._match_batch(query, [references[i] for i in part])
                for row, pairs in zip(part, found, strict=True):
                    result[row] = pairs
        return result

    def _match_batch(
        self, query: AttentionFeatures, references: Sequence[AttentionFeatures]
    ) -> list[Pairs]:
        """Match with references that have equally many features."""
        size = len(references), -1, -1
        fewest = min(len(query.index), len(references[0].index))
        network = self._narrowing if fewest >= WIDTHS[0] else self._whole
        scores, query_kept, reference_kept = network(
            query.descriptors.expand(*size).contiguous(),
            query.places.expand(*size).contiguous(),
            torch.stack([reference.descriptors for reference in references]),
            torch.stack([reference.places for reference in references]),
        )
        value, best = scores.max(dim=2)
        mutual = scores.argmax(dim=1).gather(1, best) == torch.arange(best.shape[1])
        result = []
        for row, reference in enumerate(references):
            (found,) = torch.nonzero(
                mutual[row] & (value[row] > np.log(MIN_PROBABILITY)), as_tuple=True
            )
            of_query = query_kept[row][found].long()
            of_reference = reference_kept[row][best[row][found]].long()
            result.append((query.index[of_query], reference.index[of_reference]))
        return result

    def _network(self, widths: Sequence[int]) -> Network:
        """Compile the network that narrows to these widths, for images of any size."""
        # The least that it takes: tracing runs it.
        size = 2, max(widths, default=2)
        examples = [torch.zeros(*size, width) for width in 2 * (DESCRIPTOR_SIZE, 2)]
        module = self._load(widths)
        return prepare(module, self._backend, CPU, *examples, any_length=True)
