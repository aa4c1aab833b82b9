"""What the networks say about one image before it meets another."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class TokenMean:
    """A softmax-weighted mean of one image's tokens for each of several queries.

    Means over several images follow from those of each: see `attention.joined`.

    Attributes:
        mean: (Q, C) float32.
        log_sum: (Q,) float32, logarithm of the sum of the exponentials of the logits.
    """

    mean: Tensor
    log_sum: Tensor

    @property
    def num_bytes(self) -> int:
        """Memory it takes."""
        return self.mean.nbytes + self.log_sum.nbytes


@dataclass(frozen=True)
class CoarseTokens:
    """What topics are inferred from.

    Attributes:
        coarse: (h*w, 256), tokens of the 1/8 map in raster order.
        gathered: what the seeds of the topics, which are the same for all images, gather from the
            coarse tokens in their first layer.
    """

    coarse: Tensor
    gathered: TokenMean


@dataclass(frozen=True)
class ImageFeatures(CoarseTokens):
    """What is computed of one image; it depends on nothing else and can be cached.

    Attributes:
        grid: (h, w) of the coarse map.
        fine: (128, H/2, W/2), the 1/2 map, stored with channels last.
        scale: (2,) float32, original pixels per network pixel in x and y.
    """

    grid: tuple[int, int]
    fine: Tensor
    scale: Tensor

    @property
    def num_bytes(self) -> int:
        """Memory of the maps and what was gathered from them."""
        return self.coarse.nbytes + self.fine.nbytes + self.gathered.num_bytes
