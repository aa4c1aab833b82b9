"""The network that compares two 5 x 5 windows around a coarse match, and how OpenVINO runs it.

OpenVINO runs it in bfloat16 throughout.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deviloc_ros.models.topicfm.attention import normalise

DIM = 128
WINDOW = 5
TOKENS = WINDOW * WINDOW


class MixerBlock(nn.Module):
    """Mixes the tokens of a window, then their channels; messages are normalised and added."""

    def __init__(self, num_tokens: int) -> None:
        """Make the block for a fixed number of tokens."""
        super().__init__()
        self.mlp1 = nn.Sequential(
            nn.Linear(num_tokens, num_tokens), nn.GELU(), nn.Linear(num_tokens, num_tokens)
        )
        self.mlp2 = nn.Sequential(nn.Linear(DIM, DIM), nn.GELU(), nn.Linear(DIM, DIM))
        self.norm1 = nn.LayerNorm(DIM)
        self.norm2 = nn.LayerNorm(DIM)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (M, num_tokens, 128) to the same shape, float32."""
        tokens = tokens.float() + normalise(self.norm1, self._mix_tokens(tokens))
        return tokens + normalise(self.norm2, self.mlp2(tokens))

    def _mix_tokens(self, tokens: Tensor) -> Tensor:
        """Apply `mlp1` to the token axis: products from the left, where nothing is transposed."""
        widen, activate, narrow = self.mlp1
        mixed = tokens
        for linear in (widen, narrow):
            mixed = torch.matmul(linear.get_parameter("weight"), mixed)
            mixed += linear.get_parameter("bias")[:, None]
            mixed = activate(mixed) if linear is widen else mixed
        return mixed


class FineNetwork(nn.Module):
    """Two mixer blocks on the tokens of both windows, and a keypoint detector on the query's."""

    def __init__(self) -> None:
        """Make the layers."""
        super().__init__()
        self.encoder_layers = nn.ModuleList(MixerBlock(2 * TOKENS) for _ in range(2))
        self.detector = nn.Sequential(MixerBlock(TOKENS), nn.Linear(DIM, 1))

    def forward(self, windows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Describe pairs of windows.

        Args:
            windows: (M, 50, 128), the query's 25 tokens in raster order, then the reference's.

        Returns:
            Query features (M, 25, 128), reference features (M, 25, 128), and detector scores of
            the query's tokens (M, 25).
        """
        for layer in self.encoder_layers:
            windows = layer(windows)
        query, reference = windows[:, :TOKENS], windows[:, TOKENS:]
        return query, reference, self.detector(query).squeeze(2)


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
