"""Attention between many image tokens and a few topic seeds."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deviloc_ros.models.topicfm.attention import attend, attend_in_heads, normalise

# Image tokens, about 10 kB each with their intermediate results, updated at once, on a CPU and on
# CUDA: what fits a CPU's cache, and what fills a GPU.
_TOKENS_AT_ONCE = (2048, 131072)


class EncoderLayer(nn.Module):
    """Multi-head attention and a two-layer perceptron whose message is added to its input.

    One side is always the 100 seeds and the other thousands of image tokens, so the projections
    of the many are absorbed into those of the few: with x the input, s the source,

        (Wq x) . (Wk s) = x . (Wq^T Wk s) = (Wk^T Wq x) . s      (logits, per head)
        Wm sum_s a_s Wv s = sum_s a_s (Wm Wv s) = Wm Wv sum_s a_s s        (message, per head)

    No token of the large side is multiplied by a matrix for the sake of attention: the same
    numbers but for rounding, with a bit more than half of the operations.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        """Make the layer for tokens of `dim` channels."""
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.k_proj = nn.Linear(dim, dim, bias=False)
        self.v_proj = nn.Linear(dim, dim, bias=False)
        self.merge = nn.Linear(dim, dim, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(2 * dim, 2 * dim, bias=False),
            nn.GELU(),
            nn.Linear(2 * dim, dim, bias=False),
        )
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)

    def from_many(self, seeds: Tensor, tokens: Tensor) -> Tensor:
        """Update seeds (B, T, C) by attending to image tokens (B, N, C)."""
        return self.from_means(seeds, attend(self.queries(seeds), tokens, tokens))

    def queries(self, seeds: Tensor) -> Tensor:
        """Return what seeds (B, T, C) ask of raw image tokens, (B, heads * T, C)."""
        queries = torch.einsum("btc,hdc->bhtd", seeds, self._heads(self.q_proj))
        queries = torch.einsum("bhtd,hdc->bhtc", queries, self._heads(self.k_proj))
        return queries.flatten(1, 2) * self._scale

    def from_means(self, seeds: Tensor, means: Tensor) -> Tensor:
        """Update seeds (B, T, C) with the means (B, heads * T, C) of tokens that they attend to."""
        batch, count, dim = seeds.shape
        sums = means.view(batch, self.num_heads, count, dim)
        values = torch.einsum("bhtc,hdc->bthd", sums, self._heads(self.v_proj))
        return self._add_message(seeds, self.merge(values.reshape(batch, count, dim)))

    def from_few(self, tokens: Tensor, seeds: Tensor) -> Tensor:
        """Update image tokens by attending to seeds.

        Args:
            tokens: (B, N, C), or (1, N, C) where all of the batch start from the same tokens.
            seeds: (B, T, C).

        Returns:
            (B, N, C).
        """
        keys, values = self._absorbed(seeds)
        # Tokens do not see each other: any split gives the same.
        block = max(1, _TOKENS_AT_ONCE[tokens.device.type == "cuda"] // len(seeds))
        parts = [
            self._add_message(part, attend_in_heads(part, keys, values))
            for part in torch.split(tokens, block, dim=1)
        ]
        return torch.cat(parts, dim=1)

    def from_few_at_once(self, tokens: Tensor, seeds: Tensor) -> Tensor:
        """Do the same without a split, for a program that is made from it."""
        return self._add_message(tokens, attend_in_heads(tokens, *self._absorbed(seeds)))

    def _absorbed(self, seeds: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys for raw tokens and merged values of seeds (B, T, C), (B, heads, T, C)."""
        keys = torch.einsum("btc,hdc->bhtd", seeds, self._heads(self.k_proj)) * self._scale
        keys = torch.einsum("bhtd,hdc->bhtc", keys, self._heads(self.q_proj))
        merge = self.merge.weight.view(self.merge.out_features, self.num_heads, -1)
        values = torch.einsum("btc,hdc->bhtd", seeds, self._heads(self.v_proj))
        return keys, torch.einsum("bhtd,chd->bhtc", values, merge)

    @property
    def _scale(self) -> float:
        return 1.0 / math.sqrt(self.q_proj.out_features // self.num_heads)

    def _heads(self, projection: nn.Linear) -> Tensor:
        return projection.weight.view(self.num_heads, -1, projection.in_features)

    def _add_message(self, x: Tensor, message: Tensor) -> Tensor:
        # The first linear layer acts on concat[x, message]; its two halves are applied apart, so
        # that nothing is concatenated and x that a batch shares is multiplied once.
        widen, activate, narrow = self.mlp
        of_x, of_message = torch.chunk(widen.get_parameter("weight"), 2, dim=1)
        hidden = F.linear(normalise(self.norm1, message), of_message).add_(F.linear(x, of_x))
        return x.float() + normalise(self.norm2, narrow(activate(hidden)))
