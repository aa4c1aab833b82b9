"""Layer normalisation of messages in the precision they come in."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def normalise(norm: nn.LayerNorm, message: Tensor) -> Tensor:
    """Normalise the last dimension; the result has the type of the message.

    Torch sums in float32 whatever that type. Autocast would also write float32, for the next
    product to read and round.
    """
    with torch.autocast(message.device.type, enabled=False):
        weight, bias = norm.weight.to(message.dtype), norm.bias.to(message.dtype)
        return F.layer_norm(message, norm.normalized_shape, weight, bias, norm.eps)
