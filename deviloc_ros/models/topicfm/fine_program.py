"""The fine network as a module that OpenVINO runs in bfloat16 throughout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deviloc_ros.models.topicfm.fine_network import TOKENS, FineNetwork, MixerBlock
from deviloc_ros.models.topicfm.normalisation import normalise


class FineProgram(nn.Module):
    """A `FineNetwork` whose weights that mix tokens are inputs.

    OpenVINO leaves a product with a constant on its left in float32, whatever precision it is
    asked for.
    """

    def __init__(self, network: FineNetwork) -> None:
        """Take the layers of a network."""
        super().__init__()
        self.network = network

    def mixing_weights(self) -> list[Tensor]:
        """Return the inputs that follow the windows."""
        return [
            block.mlp1[layer].get_parameter("weight").detach()
            for block in self._blocks()
            for layer in (0, 2)
        ]

    def forward(self, windows: Tensor, *mixing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Describe pairs of windows (M, 50, 128) as `FineNetwork` does."""
        first, second, detecting = self._blocks()
        windows = _mix(first, windows, *mixing[:2])
        windows = _mix(second, windows, *mixing[2:4])
        query, reference = windows[:, :TOKENS], windows[:, TOKENS:]
        scores: Tensor = self.network.detector[1](_mix(detecting, query, *mixing[4:]))
        return query, reference, scores.squeeze(2)

    def _blocks(self) -> list[MixerBlock]:
        blocks = (*self.network.encoder_layers, self.network.detector[0])
        return [block for block in blocks if isinstance(block, MixerBlock)]


def _mix(block: MixerBlock, tokens: Tensor, widening: Tensor, narrowing: Tensor) -> Tensor:
    """Do what the block does, with the weights of its `mlp1` from elsewhere."""
    widen, activate, _ = block.mlp1
    mixed = activate(torch.matmul(widening, tokens) + widen.get_parameter("bias")[:, None])
    # The second bias is one number for all channels of a token: the normalisation removes it.
    tokens = tokens + normalise(block.norm1, torch.matmul(narrowing, mixed))
    return tokens + normalise(block.norm2, block.mlp2(tokens))
