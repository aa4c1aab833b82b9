"""The parts of TopicFM-fast that OpenVINO runs faster than torch on a CPU."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from deviloc_ros.models.runtime import OpenVinoProgram
from deviloc_ros.models.topicfm.backbone import Backbone
from deviloc_ros.models.topicfm.encoder_layer import EncoderLayer
from deviloc_ros.models.topicfm.fine_network import DIM as FINE_DIM
from deviloc_ros.models.topicfm.fine_network import TOKENS, FineNetwork, FineProgram
from deviloc_ros.models.topicfm.topic_transformer import DIM, TopicTransformer

# Image tokens, about 6 kB each with their intermediate results, that attend to the topics at once:
# what is made of the topics is made once for all of them.
_TOKENS_AT_ONCE = 4096
# Pairs of windows compared at once, and those of the rest.
_WINDOWS_AT_ONCE, _REST_AT_ONCE = 64, 16


class CpuPrograms:
    """Compiled with the weights that the networks have now.

    In float32 the backbone stays with torch, whose convolutions sum in the order of the published
    code's: OpenVINO's are a quarter faster, but three times as far from the recorded numbers.
    """

    def __init__(
        self,
        backbone: Backbone,
        coarse_net: TopicTransformer,
        fine_net: FineNetwork,
        precision: Literal["float32", "bfloat16"],
    ) -> None:
        """Trace the networks; they are compiled when first used, once for each size."""
        hint: Literal["f32", "bf16"] = "f32" if precision == "float32" else "bf16"
        tokens, topics = torch.zeros(1, 32, DIM), torch.zeros(1, 100, DIM)
        windows = torch.zeros(2, 2 * TOKENS, FINE_DIM)
        with torch.no_grad():
            self._augment = OpenVinoProgram(
                _Augmentation(coarse_net), tokens, topics, precision=hint
            )
            self._backbone = backbone
            self._describe: OpenVinoProgram | None = None
            self._mixing: list[Tensor] = []
            compared: FineNetwork | FineProgram = fine_net
            if precision == "bfloat16":
                compared = FineProgram(fine_net)
                self._mixing = compared.mixing_weights()
                image = torch.zeros(1, 1, 32, 32)
                self._describe = OpenVinoProgram(_Pyramid(backbone), image, precision=hint)
            self._compare = OpenVinoProgram(compared, windows, *self._mixing, precision=hint)

    def describe(self, image: Tensor) -> tuple[Tensor, Tensor] | None:
        """Run the backbone on one image (1, 1, H, W), None where torch is to do it.

        Returns:
            bfloat16 maps like those of `Backbone.forward`.
        """
        if self._describe is None:
            return None
        # Normalised here: in float32, and nothing of it takes the program another pass.
        coarse, fine = (
            norm(pixels.permute(0, 3, 1, 2)).to(torch.bfloat16)
            for norm, pixels in zip(
                (self._backbone.norm_outlayer3, self._backbone.norm_outlayer1),
                self._describe.lend(image),
                strict=True,
            )
        )
        return coarse, fine

    def augment(self, tokens: Tensor, topics: Tensor) -> Tensor:
        """Let the tokens (N, 256) of an image attend to topics (100, 256)."""
        tokens, topics = tokens.float(), topics.float()[None]
        parts = -(-len(tokens) // _TOKENS_AT_ONCE)
        size = -(-len(tokens) // parts)
        result = torch.empty_like(tokens)
        for part in range(parts):
            # All parts have one size: the last may repeat tokens of the one before.
            start = min(part * size, len(tokens) - size)
            result[start : start + size] = self._augment.lend(
                tokens[None, start : start + size], topics
            )[0]
        return result

    def compare(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the fine network on pairs of windows (M, 50, 128).

        The results may be overwritten by the next call.
        """
        count = len(windows)
        if count == _WINDOWS_AT_ONCE:
            query, reference, scores = self._compare.lend(windows.float(), *self._mixing)
            return query, reference, scores
        outputs: list[tuple[Tensor, ...]] = []
        start = 0
        while start < max(count, 1):
            size = _WINDOWS_AT_ONCE if count - start >= _WINDOWS_AT_ONCE else _REST_AT_ONCE
            block = windows[start : start + size].float()
            if len(block) < size:
                block = torch.cat([block, block.new_zeros(size - len(block), *block.shape[1:])])
            outputs.append(self._compare(block, *self._mixing))
            start += size
        query, reference, scores = (
            (parts[0] if len(parts) == 1 else torch.cat(parts))[:count]
            for parts in zip(*outputs, strict=True)
        )
        return query, reference, scores


class _Pyramid(nn.Module):
    """The backbone's maps with the channels last in shape too: as OpenVINO has them in memory."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        coarse, fine = self.backbone.pyramid(image)
        return coarse.permute(0, 2, 3, 1), fine.permute(0, 2, 3, 1)


class _Augmentation(nn.Module):
    """The layers in which an image attends to the topics."""

    def __init__(self, coarse_net: TopicTransformer) -> None:
        super().__init__()
        self.layers = coarse_net.feat_aug

    def forward(self, tokens: Tensor, topics: Tensor) -> Tensor:
        for layer in self.layers:
            assert isinstance(layer, EncoderLayer)
            tokens = layer.from_few_at_once(tokens, topics)
        return tokens[0]
