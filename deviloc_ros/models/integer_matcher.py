"""XFeat's fine matcher with products of 8-bit integers: twice as fast on CPUs that have them.

Written as rounding of floating-point numbers, which OpenVINO recognises and turns into integer
products. Matches move by a small part of the pixel by which they scatter (test/unit/test_xfeat.py).
The backbone stays as it is: the noise of rounded convolutions would go into the map.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deviloc_ros.models.xfeat import FineMatcher

# Largest input of each layer that is represented: hardly a value of photographs is beyond. The few
# that are count as the largest.
LARGEST_INPUTS = (8.0, 4.5, 5.0, 5.0, 5.5)
SIGNED, UNSIGNED = 127, 255


def with_integer_products(exact: FineMatcher) -> FineMatcher:
    """Return a copy of a matcher that rounds weights and inputs to 256 values."""
    rounded = copy.deepcopy(exact)
    largest = iter(LARGEST_INPUTS)
    rounded.layers = nn.Sequential(
        *(
            _IntegerLinear(layer, next(largest), signed=i == 0)
            if isinstance(layer, nn.Linear)
            else layer
            for i, layer in enumerate(exact.layers)
        )
    )
    return rounded.eval()


class _IntegerLinear(nn.Module):
    """A linear layer: one step for all inputs, one for each output's weights."""

    def __init__(self, exact: nn.Linear, largest: float, signed: bool) -> None:
        super().__init__()
        self._lowest, self._highest = (-SIGNED, SIGNED) if signed else (0, UNSIGNED)
        self._step = largest / self._highest
        self._exact = exact
        self.steps: Tensor
        self.zeros: Tensor
        self.register_buffer("steps", exact.weight.detach().abs().amax(dim=1) / SIGNED)
        self.register_buffer("zeros", torch.zeros(len(exact.weight), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, self._step, 0, self._lowest, self._highest)
        weight = torch.fake_quantize_per_channel_affine(
            self._exact.weight, self.steps, self.zeros, 0, -SIGNED, SIGNED
        )
        return F.linear(x, weight, self._exact.bias)
