"""The learned point inference of matcher xfeat: which candidate depth is right, and how surely.

A small transformer over the candidates of one keypoint. It answers with a mixture: around every
candidate a Laplace distribution of the logarithm of the inverse depth. Two surfaces at a depth edge
then stay two hypotheses, where a mean would lie between them in the air.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

WIDTH = 48
HEADS = 3
LAYERS = 2
# Most that a candidate may be moved by, and bounds of the distributions' scales, log of depth.
MAX_SHIFT = 0.3
SCALES = (0.0002, 1.0)
# Of depths that no candidate explains: weight and scale of a wide distribution around the base.
STRAY_WEIGHT, STRAY_SCALE = 0.01, 1.0


@dataclass(frozen=True)
class DepthMixture:
    """Distribution of log(inverse depth / base) of N keypoints over C candidates.

    Attributes:
        log_weight: (N, C), log of each candidate's share.
        centre: (N, C).
        scale: (N, C), of a Laplace distribution.
    """

    log_weight: Tensor
    centre: Tensor
    scale: Tensor

    def log_likelihood(self, value: Tensor) -> Tensor:
        """Return the log density (N,) at values (N,)."""
        distance = (value[:, None] - self.centre).abs() / self.scale
        inner = torch.logsumexp(self.log_weight - distance - (2 * self.scale).log(), dim=1)
        stray = -value.abs() / STRAY_SCALE - torch.tensor(2 * STRAY_SCALE).log()
        keep, lose = torch.tensor(1 - STRAY_WEIGHT).log(), torch.tensor(STRAY_WEIGHT).log()
        return torch.logaddexp(inner + keep, stray + lose)

    def best(self, tolerance: float) -> tuple[Tensor, Tensor]:
        """Return the median (N,) of the most probable interval and the probability (N,) around it.

        The interval finds the surface. Which of the candidates in it is its middle says little, as
        all of them may be within the tolerance; the median has the least absolute error to expect.

        Args:
            tolerance: half the interval's length, log of depth.
        """
        at = self._mass(self.centre, tolerance).max(dim=1).indices
        middle = self.centre.gather(1, at[:, None])
        weight = self.log_weight.exp() * ((self.centre - middle).abs() <= tolerance)
        centre, order = self.centre.sort(dim=1)
        share = weight.gather(1, order).cumsum(dim=1)
        half = (share >= 0.5 * share[:, -1:]).float().argmax(dim=1)
        value = centre.gather(1, half[:, None])
        return value[:, 0], self._mass(value, tolerance)[:, 0] * (1 - STRAY_WEIGHT)

    def _mass(self, middle: Tensor, tolerance: float) -> Tensor:
        """Return the probability (N, K) of the intervals around (N, K)."""
        gap = middle[:, :, None] - self.centre[:, None, :]
        scale = self.scale[:, None, :]
        mass = _cumulative((gap + tolerance) / scale) - _cumulative((gap - tolerance) / scale)
        return (mass * self.log_weight.exp()[:, None, :]).sum(dim=2)


class LiftNetwork(nn.Module):
    """Candidates of keypoints to mixtures; candidates may come in any order."""

    def __init__(self, num_inputs: int) -> None:
        """Make the layers, with random weights."""
        super().__init__()
        self.embed = nn.Linear(num_inputs, WIDTH)
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 3)

    def forward(
        self, inputs: Tensor, log_ratio: Tensor, valid: Tensor, roughness: Tensor
    ) -> DepthMixture:
        """Judge candidates.

        Args:
            inputs: (N, C, num_inputs).
            log_ratio: (N, C), where the candidates are.
            valid: (N, C) bool, which of them are there.
            roughness: (N,), unit in which candidates are moved.
        """
        tokens = self.embed(inputs)
        for layer in self.layers:
            tokens = layer(tokens, valid)
        weight, shift, scale = self.head(self.norm(tokens)).unbind(dim=2)
        low, high = (torch.tensor(bound).log().item() for bound in SCALES)
        return DepthMixture(
            F.log_softmax(weight.masked_fill(~valid, -1e4), dim=1),
            log_ratio + MAX_SHIFT * torch.tanh(shift * roughness[:, None] / MAX_SHIFT),
            torch.exp(low + (high - low) * torch.sigmoid(scale)),
        )


class _Layer(nn.Module):
    """Attention among the candidates of one keypoint, then a perceptron on each."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.widen = nn.Linear(WIDTH, 2 * WIDTH)
        self.narrow = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        count, candidates, _ = tokens.shape
        mixed = self.mix(self.norm1(tokens)).view(count, candidates, 3, HEADS, WIDTH // HEADS)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, valid[:, None, None, :])
        tokens = tokens + self.out(seen.transpose(1, 2).reshape(count, candidates, WIDTH))
        result: Tensor = tokens + self.narrow(F.gelu(self.widen(self.norm2(tokens))))
        return result


def _cumulative(x: Tensor) -> Tensor:
    """Return the Laplace distribution function."""
    return 0.5 + 0.5 * x.sign() * (1 - torch.exp(-x.abs()))
