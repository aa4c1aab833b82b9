"""Building blocks of the Point Inference Network."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

NUM_HEADS = 4


class Perceptron(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        """Make the layers with the given widths."""
        super().__init__()
        self.out = nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        result: Tensor = self.out(x)
        return result


class AttentionBlock(nn.Module):
    """Pre-norm attention to a source, then a perceptron, each with a learned residual gain."""

    def __init__(self, dim: int) -> None:
        """Make a block for tokens of `dim` channels."""
        super().__init__()
        self.gamma1 = nn.Parameter(torch.ones(dim))
        self.gamma2 = nn.Parameter(torch.ones(dim))
        self.q_layer = nn.Linear(dim, dim, bias=False)
        self.kv_layer = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Perceptron(dim, 2 * dim, dim)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values (heads, N, dim / heads) of source tokens (N, dim).

        They are apart from `forward` so that those of a reference can be kept.
        """
        keys, values = self.kv_layer(self.norm1(source)).chunk(2, dim=1)
        return _split(keys), _split(values)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Update tokens (M, dim) by attending to a source's `keys_values`."""
        queries = _split(self.q_layer(self.norm1(x)))
        message = F.scaled_dot_product_attention(queries[None], keys[None], values[None])[0]
        x = x + self.gamma1 * self.proj(message.transpose(0, 1).flatten(1))
        updated: Tensor = x + self.gamma2 * self.mlp(self.norm2(x))
        return updated


def _split(tokens: Tensor) -> Tensor:
    return tokens.view(len(tokens), NUM_HEADS, tokens.shape[1] // NUM_HEADS).transpose(0, 1)
