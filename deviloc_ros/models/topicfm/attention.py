"""Softmax attention by the kernels that are fastest for the device and the precision.

That is the fused `scaled_dot_product_attention`, but for two cases on a CPU: in bfloat16 torch's
fused kernel takes twice the time of two matrix products, and it cannot sum over heads within the
second. The logits are few: one side is always the 100 topics.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return softmax(queries keys^T) values; (B, N, C), (B, M, C) and (B, M, C) to (B, N, C).

    Queries hold the scale of the logits.
    """
    if queries.device.type == "cuda" or keys.dtype is torch.float32:
        return F.scaled_dot_product_attention(queries, keys, values, scale=1.0)
    weights = _softmax(torch.bmm(queries, keys.transpose(1, 2)))
    return torch.bmm(weights, values)


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
