"""PIN, the Point Inference Network: a 3D point for a keypoint from the view's sparse points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

NUM_HEADS = 4


class Perceptron(nn.Module):
    """Linear, GELU, linear."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        """Make the layers with the given widths."""
        super().__init__()
        self.out = nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., inputs) to (..., outputs)."""
        result: Tensor = self.out(x)
        return result


class AttentionBlock(nn.Module):
    """Pre-norm attention to a source, then a perceptron, each with a learned residual gain."""

    def __init__(self, dim: int) -> None:
        """Make a block for tokens of `dim` channels."""
        super().__init__()
        self.gamma1 = nn.Parameter(torch.ones(dim))
        self.gamma2 = nn.Parameter(torch.ones(dim))
        self.q_layer = nn.Linear(dim, dim, bias=False)
        self.kv_layer = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Perceptron(dim, 2 * dim, dim)

    def keys_values(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values (heads, N, dim / heads) of source tokens (N, dim).

        They are apart from `forward` so that those of a reference can be kept.
        """
        keys, values = self.kv_layer(self.norm1(source)).chunk(2, dim=1)
        return _split(keys), _split(values)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Update tokens (M, dim) by attending to a source's `keys_values`."""
        queries = _split(self.q_layer(self.norm1(x)))
        message = F.scaled_dot_product_attention(queries[None], keys[None], values[None])[0]
        return self._updated(x, message.transpose(0, 1).flatten(1))

    def of_views(self, x: Tensor, sources: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Update tokens (K, M, dim) of K views, each by its own source's `keys_values`."""
        queries = self.q_layer(self.norm1(x)).unflatten(2, (NUM_HEADS, -1)).transpose(1, 2)
        message = torch.stack(
            [
                F.scaled_dot_product_attention(own[None], keys[None], values[None])[0]
                for own, (keys, values) in zip(queries, sources, strict=True)
            ]
        )
        return self._updated(x, message.transpose(1, 2).flatten(2))

    def _updated(self, x: Tensor, message: Tensor) -> Tensor:
        x = x + self.gamma1 * self.proj(message)
        updated: Tensor = x + self.gamma2 * self.mlp(self.norm2(x))
        return updated


def _split(tokens: Tensor) -> Tensor:
    return tokens.view(len(tokens), NUM_HEADS, tokens.shape[1] // NUM_HEADS).transpose(0, 1)


GEOMETRY_DIM = 128
FEATURE_DIM = 128
MODEL_DIM = 256
_NUM_INFERENCE_LAYERS = 3
_EPS = 1e-8


@dataclass(frozen=True)
class ObservedBranch:
    """What PIN makes of a view's observed points: independent of the query, kept per reference.

    Attributes:
        min_depth: (1,), least depth of the observed points.
        depth_range: (1,), largest minus least depth.
        propagation: keys and values that keypoints attend to first, each (4, N, 32).
        inference: keys and values of the three later layers, each (4, N, 64).
    """

    min_depth: Tensor
    depth_range: Tensor
    propagation: tuple[Tensor, Tensor]
    inference: tuple[tuple[Tensor, Tensor], ...]

    @property
    def num_bytes(self) -> int:
        """Memory of the keys and values."""
        pairs = (self.propagation, *self.inference)
        return sum(keys.nbytes + values.nbytes for keys, values in pairs)


class PointInferenceNetwork(nn.Module):
    """Infers depth and confidence of keypoints; they never attend to each other.

    Always in float32: a relative depth error of half precision would be centimetres.
    """

    def __init__(self) -> None:
        """Make the layers with the widths of the published weights."""
        super().__init__()
        self.pts2d_scale = nn.Parameter(torch.full((1, 1, 2), 10.0))
        self.depth_scale = nn.Parameter(torch.full((1, 1, 1), 10.0))
        self.pts2d_emb = Perceptron(2, GEOMETRY_DIM, GEOMETRY_DIM)
        self.depth_emb = Perceptron(1, GEOMETRY_DIM, GEOMETRY_DIM)
        self.depth_enc = AttentionBlock(GEOMETRY_DIM)
        self.pts3d_emb = nn.Linear(2 * GEOMETRY_DIM, GEOMETRY_DIM, bias=False)
        self.propa_layers = nn.ModuleList([AttentionBlock(GEOMETRY_DIM)])
        merged = GEOMETRY_DIM + FEATURE_DIM
        self.merge2d_layers = Perceptron(merged, MODEL_DIM, MODEL_DIM)
        self.merge3d_layers = Perceptron(merged, MODEL_DIM, MODEL_DIM)
        self.infer_layers = nn.ModuleList(
            AttentionBlock(MODEL_DIM) for _ in range(2 * _NUM_INFERENCE_LAYERS)
        )
        self.out_coords = nn.Sequential(
            Perceptron(MODEL_DIM, MODEL_DIM, MODEL_DIM),
            nn.LayerNorm(MODEL_DIM),
            Perceptron(MODEL_DIM, MODEL_DIM, 1),
        )
        self.out_conf = nn.Sequential(
            Perceptron(MODEL_DIM + 1, 2 * MODEL_DIM, MODEL_DIM),
            nn.LayerNorm(MODEL_DIM),
            Perceptron(MODEL_DIM, MODEL_DIM, 1),
            nn.Sigmoid(),
        )

    def observe(self, points: Tensor, features: Tensor) -> ObservedBranch:
        """Digest the observed points of a view.

        Args:
            points: (N, 3) float32, camera frame of the view; N at least 1.
            features: (N, 128) float32, the fine map at their observations.
        """
        z = points[:, 2:]
        min_depth = z.amin(dim=0)
        depth_range = z.amax(dim=0) - min_depth + _EPS
        bearing = self.pts2d_emb(points[:, :2] / (z + _EPS) * self.pts2d_scale[0])
        depth = self.depth_emb((z - min_depth) / depth_range * self.depth_scale[0])
        depth = self.depth_enc(depth, *self.depth_enc.keys_values(depth))
        geometry = self.pts3d_emb(torch.cat([bearing, depth], dim=1))
        hidden = self.merge3d_layers(torch.cat([geometry, features], dim=1))
        inference = []
        for within, across in self._inference_pairs():
            hidden = within(hidden, *within.keys_values(hidden))
            inference.append(across.keys_values(hidden))
        propagation = self._propagation.keys_values(geometry)
        return ObservedBranch(min_depth, depth_range, propagation, tuple(inference))

    def forward(
        self, rays: Tensor, features: Tensor, observed: ObservedBranch
    ) -> tuple[Tensor, Tensor]:
        """Infer depths.

        Args:
            rays: (M, 3) float32, viewing rays of the keypoints, camera frame, z = 1.
            features: (M, 128) float32, the fine map at the keypoints.
            observed: the view's observed points.

        Returns:
            Depth (M,), map units, not forced to be positive, and confidence (M,) in (0, 1).
        """
        geometry = self.pts2d_emb(rays[:, :2] * self.pts2d_scale[0])
        geometry = self._propagation(geometry, *observed.propagation)
        hidden = self.merge2d_layers(torch.cat([geometry, features], dim=1))
        for (_, across), source in zip(self._inference_pairs(), observed.inference, strict=True):
            hidden = across(hidden, *source)
        return self._inferred(hidden, observed.min_depth, observed.depth_range)

    def of_views(
        self, rays: Tensor, features: Tensor, observed: Sequence[ObservedBranch]
    ) -> tuple[Tensor, Tensor]:
        """Infer depths (K, M) of keypoints of K views, rays (K, M, 3), features (K, M, 128)."""
        geometry = self.pts2d_emb(rays[..., :2] * self.pts2d_scale)
        geometry = self._propagation.of_views(geometry, [each.propagation for each in observed])
        hidden = self.merge2d_layers(torch.cat([geometry, features], dim=2))
        for index, (_, across) in enumerate(self._inference_pairs()):
            hidden = across.of_views(hidden, [each.inference[index] for each in observed])
        return self._inferred(
            hidden,
            torch.stack([each.min_depth for each in observed])[:, None],
            torch.stack([each.depth_range for each in observed])[:, None],
        )

    def _inferred(
        self, hidden: Tensor, min_depth: Tensor, depth_range: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return depth and confidence of hidden tokens, without their last dimension."""
        depth = self.out_coords(hidden) * depth_range + min_depth
        # Depth over range, not the normalised depth, and without gradient: as it was trained.
        certainty = self.out_conf(torch.cat([hidden, (depth / depth_range).detach()], dim=-1))
        return depth.squeeze(-1), certainty.squeeze(-1)

    @property
    def _propagation(self) -> AttentionBlock:
        block = self.propa_layers[0]
        assert isinstance(block, AttentionBlock)
        return block

    def _inference_pairs(self) -> list[tuple[AttentionBlock, AttentionBlock]]:
        """Return (observed to observed, keypoints to observed) for each inference layer."""
        blocks = [block for block in self.infer_layers if isinstance(block, AttentionBlock)]
        return list(zip(blocks[::2], blocks[1::2], strict=True))
