"""Softmax attention by the kernels that are fastest for the device and the precision.

On CUDA that is the fused `scaled_dot_product_attention`. On a CPU it is two matrix products: the
fused kernel takes a seventh more time than they do in float32 and twice as much in bfloat16, and it
cannot sum over heads within the second. The logits are few: one side is always the 100 topics.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deviloc_ros.models.topicfm.image_features import TokenMean


def normalise(norm: nn.LayerNorm, message: Tensor) -> Tensor:
    """Normalise the last dimension; the result has the type of the message.

    Torch sums in float32 whatever that type. Autocast would also write float32, for the next
    product to read and round.
    """
    with torch.autocast(message.device.type, enabled=False):
        weight, bias = norm.weight.to(message.dtype), norm.bias.to(message.dtype)
        return F.layer_norm(message, norm.normalized_shape, weight, bias, norm.eps)


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return softmax(queries keys^T) values; (B, N, C), (B, M, C) and (B, M, C) to (B, N, C).

    Queries hold the scale of the logits.
    """
    if queries.device.type == "cuda":
        # Fused kernels take four dimensions only: one head.
        heads = queries[:, None], keys[:, None], values[:, None]
        return F.scaled_dot_product_attention(*heads, scale=1.0)[:, 0]
    # One of the batch after the other: its logits, 6 to 19 MB, may stay in the cache.
    return torch.stack(
        [
            torch.mm(_softmax(torch.mm(query, key.T)), value)
            for query, key, value in zip(queries, keys, values, strict=True)
        ]
    )


def mean_of_tokens(queries: Tensor, tokens: Tensor) -> TokenMean:
    """Return what queries (Q, C) see of an image's tokens (N, C), their keys and values."""
    logits = torch.mm(queries, tokens.T)
    mean = torch.mm(_softmax(logits), tokens)
    return TokenMean(mean.float(), logits.float().logsumexp(dim=-1))


def joined(images: Sequence[TokenMean]) -> Tensor:
    """Return what queries (..., Q, C) see of all tokens of several images at once, as large.

    The images may be pairs, or more, of K each.
    """
    shares = torch.stack([image.log_sum for image in images]).softmax(dim=0)
    means = torch.stack([image.mean for image in images])
    return (shares[..., None] * means).sum(dim=0)


def attend_in_heads(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the sum over heads of softmax(queries keys^T) values.

    Args:
        queries: (B, N, C), or (1, N, C) for the same in all of the batch; seen by all heads.
        keys: (B, heads, M, C), with the scale of the logits.
        values: (B, heads, M, C).

    Returns:
        (B, N, C).
    """
    batch, heads, count, _ = keys.shape
    if queries.device.type == "cuda":
        expanded = queries.unsqueeze(1).expand(batch, heads, -1, -1)
        return F.scaled_dot_product_attention(expanded, keys, values, scale=1.0).sum(1)
    queries = queries.expand(batch, -1, -1)
    logits = torch.bmm(queries, keys.flatten(1, 2).transpose(1, 2))
    weights = _softmax(logits.view(batch, -1, heads, count)).flatten(2)
    # The sum over heads is part of the product.
    return torch.bmm(weights, values.flatten(1, 2))


def _softmax(logits: Tensor) -> Tensor:
    """Return the softmax of the last dimension as precise as the logits, summed in float32."""
    with torch.autocast(logits.device.type, enabled=False):
        return logits.softmax(dim=-1)
