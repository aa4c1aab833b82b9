"""TopicFM-fast as a whole: a query against references, semi-dense matches out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deviloc_ros.models.topicfm.backbone import Backbone
from deviloc_ros.models.topicfm.coarse_matching import CoarseMatches, coarse_matches
from deviloc_ros.models.topicfm.cpu_programs import CpuPrograms
from deviloc_ros.models.topicfm.fine_matching import gather_windows, refine
from deviloc_ros.models.topicfm.fine_network import DIM, TOKENS, FineNetwork
from deviloc_ros.models.topicfm.image_features import ImageFeatures
from deviloc_ros.models.topicfm.topic_transformer import TopicTransformer

NETWORK_PER_COARSE = 8
# Pairs of windows, 26 kB each, that go through the fine network at once: what fits a CPU's cache.
_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class PairMatches:
    """Semi-dense matches of one query with one reference, in the order of the coarse confidence.

    Attributes:
        query_keypoints: (M, 2) float32, original query pixels; the centre of the first network
            pixel is (0, 0), as the published code has it.
        reference_keypoints: (M, 2) float32, original reference pixels, same convention.
        confidence: (M,) float32, coarse confidence times the peak of the fine similarity.
        coarse: the matched cells.
    """

    query_keypoints: Tensor
    reference_keypoints: Tensor
    confidence: Tensor
    coarse: CoarseMatches


class TopicFM(nn.Module):
    """TopicFM-fast with the hyper-parameters of the published weights."""

    def __init__(self) -> None:
        """Make the three networks."""
        super().__init__()
        self.backbone = Backbone()
        self.coarse_net = TopicTransformer()
        self.fine_net = FineNetwork()

    def encode(
        self, images: Tensor, scales: Tensor, programs: CpuPrograms | None = None
    ) -> list[ImageFeatures]:
        """Describe images of one size, each on its own.

        Args:
            images: (B, 1, H, W) float32 gray values in [0, 1]; H and W multiples of 16.
            scales: (B, 2), original pixels per network pixel.
            programs: do what they can in torch's place.
        """
        maps = None if programs is None or len(images) > 1 else programs.describe(images)
        coarse, fine = self.backbone(images) if maps is None else maps
        grid = (int(coarse.shape[2]), int(coarse.shape[3]))
        tokens = coarse.flatten(2).transpose(1, 2).contiguous()
        scales = scales.to(images.device, torch.float32)
        return [
            ImageFeatures(of_image, self.coarse_net.gather(of_image), grid, fine[b], scales[b])
            for b, of_image in enumerate(tokens)
        ]

    def forward(
        self,
        query: ImageFeatures,
        references: Sequence[ImageFeatures],
        threshold: float,
        border: int,
        programs: CpuPrograms | None = None,
    ) -> list[PairMatches]:
        """Match a query with references whose coarse maps have one size, as one batch.

        Args:
            query: backbone features of the query.
            references: backbone features of the references.
            threshold: least coarse confidence, exclusive.
            border: rim of the coarse maps without matches, cells.
            programs: do what they can in torch's place.
        """
        pairs = self.comparable(query, references, programs)
        coarse = [
            coarse_matches(*pair, (query.grid, reference.grid), threshold, border)
            for pair, reference in zip(pairs, references, strict=True)
        ]
        return [
            self.refine(query, reference, matches, programs)
            for reference, matches in zip(references, coarse, strict=True)
        ]

    def comparable(
        self,
        query: ImageFeatures,
        references: Sequence[ImageFeatures],
        programs: CpuPrograms | None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the matchable features of the query, (L, 256), and of each reference, (S, 256)."""
        if programs is None:
            yield from zip(*self.coarse_net(query, references), strict=True)
            return
        for topics, reference in zip(
            self.coarse_net.infer_topics(query, references), references, strict=True
        ):
            yield (
                programs.augment(query.coarse, topics),
                programs.augment(reference.coarse, topics),
            )

    def refine(
        self,
        query: ImageFeatures,
        reference: ImageFeatures,
        coarse: CoarseMatches,
        programs: CpuPrograms | None = None,
    ) -> PairMatches:
        """Refine the coarse matches of one reference; only their windows are cut out."""
        compare = self.fine_net if programs is None else programs.compare
        dtype = query.fine.dtype if programs is None else torch.float32
        refined = []
        for query_cells, reference_cells in zip(
            torch.split(coarse.query, _WINDOWS_AT_ONCE),
            torch.split(coarse.reference, _WINDOWS_AT_ONCE),
            strict=True,
        ):
            size = (len(query_cells), 2 * TOKENS, DIM)
            windows = torch.empty(size, dtype=dtype, device=query.fine.device)
            windows[:, :TOKENS] = gather_windows(query.fine, query_cells, query.grid)
            windows[:, TOKENS:] = gather_windows(reference.fine, reference_cells, reference.grid)
            refined.append(refine(*compare(windows)))
        query_offsets, reference_offsets, peaks = (
            torch.cat(parts) for parts in zip(*refined, strict=True)
        )
        return PairMatches(
            (centres(coarse.query, query.grid) + query_offsets) * query.scale,
            (centres(coarse.reference, reference.grid) + reference_offsets) * reference.scale,
            peaks * coarse.confidence,
            coarse,
        )


def centres(cells: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the places (M, 2) of coarse cells, network pixels."""
    return torch.stack([cells % grid[1], cells // grid[1]], dim=1) * float(NETWORK_PER_COARSE)
