"""The network that compares two 5 x 5 windows around a coarse match."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from deviloc_ros.models.topicfm.normalisation import normalise

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
