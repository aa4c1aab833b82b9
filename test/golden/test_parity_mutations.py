"""The parity tests notice errors: each quirk of the published code is broken once.

Every mutation replaces a piece of our code for the time of one comparison, which has to fail.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import comparisons
import cv2
import loss
import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from deviloc_ros.models.published import (
    assignment,
    merging,
    pin,
    pin_geometry,
    preprocessing,
)
from deviloc_ros.models.published.deviloc import DeViLocNetwork
from deviloc_ros.models.topicfm import (
    backbone,
    coarse_matching,
    encoder_layer,
    fine_matching,
    matcher,
)

Patch = pytest.MonkeyPatch
Compare = Callable[[Path, DeViLocNetwork, Path], None]


def on_matcher(folder: Path, network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_matcher(folder, "same", network)


def on_pin(case: str) -> Compare:
    return lambda folder, network, _scratch: comparisons.compare_pin(folder, case, network)


def on_e2e(folder: Path, network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_e2e(folder, network)


def on_topn(folder: Path, network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_e2e_topn(folder, network)


def on_merge(folder: Path, _network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_merge(folder)


def on_assign(folder: Path, _network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_assign(folder, exactly=False)


def on_sample(folder: Path, _network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_sample(folder)


def on_loss(folder: Path, _network: DeViLocNetwork, _scratch: Path) -> None:
    comparisons.compare_loss(folder)


def on_preprocess(folder: Path, _network: DeViLocNetwork, scratch: Path) -> None:
    comparisons.compare_preprocess(folder, scratch)


def tanh_gelu(patch: Patch, _network: DeViLocNetwork) -> None:
    exact = F.gelu
    patch.setattr(F, "gelu", lambda x, **_: exact(x, approximate="tanh"))


def batch_norm_eps(_patch: Patch, network: DeViLocNetwork) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3


def channel_norm_eps(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(backbone, "_NORM_EPS", 1e-3)


def layer_norm_eps(_patch: Patch, network: DeViLocNetwork) -> None:
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-3


def upsampling_corners(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(backbone, "_double", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"))


def seed_layers(_patch: Patch, network: DeViLocNetwork) -> None:
    network.matcher.coarse_net.layers = network.matcher.coarse_net.layers[:4]


def message_concat_order(_patch: Patch, network: DeViLocNetwork) -> None:
    for name, weight in network.matcher.coarse_net.feat_aug.named_parameters():
        if not name.endswith("mlp.0.weight"):
            continue
        weight.copy_(torch.cat(torch.chunk(weight.clone(), 2, dim=1)[::-1], dim=1))


def attention_scale(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(encoder_layer.EncoderLayer, "_scale", 1 / 16)


def border_width(patch: Patch, _network: DeViLocNetwork) -> None:
    right = coarse_matching.coarse_matches
    patch.setattr(
        matcher, "coarse_matches", lambda q, r, g, threshold, border: right(q, r, g, threshold, 1)
    )


def border_before_maximum(patch: Patch, _network: DeViLocNetwork) -> None:
    """Border cells do not compete: they are made unlike everything before the softmax."""
    right = coarse_matching.coarse_matches

    def wrong(query: Any, reference: Any, grids: Any, threshold: float, border: int) -> Any:
        cells = torch.arange(len(query))
        inside = coarse_matching.inside(cells, grids[0], border)
        return right(query * inside[:, None], reference, grids, threshold, border)

    patch.setattr(matcher, "coarse_matches", wrong)


def one_softmax(patch: Patch, _network: DeViLocNetwork) -> None:
    right = coarse_matching.dual_softmax_candidates

    def wrong(*args: Any, **options: Any) -> Any:
        candidates, rows, _ = right(*args, **options)
        return candidates, rows, candidates.similarity.new_full((len(args[1]),), 5.0)

    patch.setattr(coarse_matching, "dual_softmax_candidates", wrong)


def detector_temperature(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(fine_matching, "_DETECTOR_TEMPERATURE", 1.0)


def half_cell_shift(patch: Patch, _network: DeViLocNetwork) -> None:
    right = matcher.centres
    patch.setattr(matcher, "centres", lambda cells, grid: right(cells, grid) + 0.5)


def no_fine_peak(patch: Patch, _network: DeViLocNetwork) -> None:
    right = fine_matching.refine

    def wrong(*args: Any) -> Any:
        query, reference, peak = right(*args)
        return query, reference, torch.ones_like(peak)

    patch.setattr(matcher, "refine", wrong)


def window_column_major(patch: Patch, _network: DeViLocNetwork) -> None:
    right = fine_matching.gather_windows
    patch.setattr(
        matcher,
        "gather_windows",
        lambda *args: right(*args).view(-1, 5, 5, 128).transpose(1, 2).flatten(1, 2),
    )


def dropped_gamma(_patch: Patch, network: DeViLocNetwork) -> None:
    network.pts3d_infer.depth_enc.gamma1.fill_(1.0)


def values_before_keys(patch: Patch, _network: DeViLocNetwork) -> None:
    right = pin.AttentionBlock.keys_values
    patch.setattr(pin.AttentionBlock, "keys_values", lambda self, source: right(self, source)[::-1])


def stale_observed_branch(patch: Patch, network: DeViLocNetwork) -> None:
    """Keypoints attend to the observed points from before their own update."""
    for within, _ in network.pts3d_infer._inference_pairs():
        patch.setattr(within, "forward", lambda x, _keys, _values: x)


def feature_before_geometry(_patch: Patch, network: DeViLocNetwork) -> None:
    weight = network.pts3d_infer.merge2d_layers.get_parameter("out.0.weight")
    weight.copy_(torch.cat(torch.chunk(weight.clone(), 2, dim=1)[::-1], dim=1))


def normalised_depth_into_confidence(patch: Patch, _network: DeViLocNetwork) -> None:
    right = torch.cat

    def wrong(tensors: Any, dim: int = 0) -> Any:
        if tensors[0].shape[-1] == pin.MODEL_DIM and tensors[1].shape[-1] == 1:
            tensors = (tensors[0], tensors[1] - 0.1)
        return right(tensors, dim=dim)

    patch.setattr(torch, "cat", wrong)


def four_undistortions(patch: Patch, _network: DeViLocNetwork) -> None:
    right = pin_geometry.undistort
    patch.setattr(pin_geometry, "undistort", lambda points, matrix, d: right(points, matrix, d, 4))


def swapped_tangential(patch: Patch, _network: DeViLocNetwork) -> None:
    right = pin_geometry.undistort
    patch.setattr(
        pin_geometry, "undistort", lambda points, matrix, d: right(points, matrix, d[[0, 1, 3, 2]])
    )


def no_undistortion(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(pin_geometry, "undistort", lambda points, *_: points)


def sampling_corners(patch: Patch, _network: DeViLocNetwork) -> None:
    _patched(patch, F, "grid_sample", align_corners=False)


def sampling_border(patch: Patch, _network: DeViLocNetwork) -> None:
    _patched(patch, F, "grid_sample", padding_mode="border")


def network_scale_for_sampling(patch: Patch, _network: DeViLocNetwork) -> None:
    from deviloc_ros.models.published import deviloc

    patch.setattr(deviloc, "NETWORK_PER_FINE", 1)


def half_up(patch: Patch, _network: DeViLocNetwork) -> None:
    def cells(keypoints: Any, cell_size: float) -> Any:
        rounded = (keypoints / cell_size + 0.5).floor().long()
        occupied, member_of = torch.unique(rounded, dim=0, return_inverse=True)
        return member_of, len(occupied)

    patch.setattr(merging, "cells_of", cells)


def merge_without_eps(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(merging, "_EPS", 0.0)


def merge_by_equation(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(merging, "merge", merging.merge_exactly)


def lower_confidence_limit(patch: Patch, _network: DeViLocNetwork) -> None:
    right = merging.merge
    patch.setattr(
        merging,
        "merge",
        lambda matches, size, limit: right(matches, size, None if limit is None else limit - 0.1),
    )


def order_by_coarse_confidence(patch: Patch, _network: DeViLocNetwork) -> None:
    right = matcher.TopicFM.refine

    def wrong(self: matcher.TopicFM, *args: Any) -> Any:
        pairs = right(self, *args)
        return replace(pairs, confidence=pairs.coarse.confidence)

    patch.setattr(matcher.TopicFM, "refine", wrong)


def wider_assignment(patch: Patch, _network: DeViLocNetwork) -> None:
    right = assignment.assign_observed
    patch.setattr(assignment, "assign_observed", lambda o, k, radius: right(o, k, radius + 1))


def multiple_of_eight(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(preprocessing, "_MULTIPLE", 8)


def float_resize(patch: Patch, _network: DeViLocNetwork) -> None:
    right = cv2.resize

    def wrong(image: Any, size: tuple[int, int]) -> Any:
        return np.floor(right(image.astype(np.float32), size)).astype(np.uint8)

    patch.setattr(cv2, "resize", wrong)


def cross_entropy_weight(patch: Patch, _network: DeViLocNetwork) -> None:
    patch.setattr(loss, "_CONFIDENCE_WEIGHT", 1.0)


def _patched(patch: Patch, owner: Any, name: str, **changed: Any) -> None:
    """Let a function be called with other options than ours."""
    right = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **options: right(*args, **{**options, **changed}))


@dataclass(frozen=True)
class Mutation:
    break_it: Callable[[Patch, DeViLocNetwork], None]
    compare: Compare


MUTATIONS = [
    Mutation(tanh_gelu, on_matcher),
    Mutation(batch_norm_eps, on_matcher),
    Mutation(channel_norm_eps, on_matcher),
    Mutation(layer_norm_eps, on_matcher),
    Mutation(layer_norm_eps, on_pin("nodist")),
    Mutation(upsampling_corners, on_matcher),
    Mutation(seed_layers, on_matcher),
    Mutation(message_concat_order, on_matcher),
    Mutation(attention_scale, on_matcher),
    Mutation(border_width, on_matcher),
    Mutation(border_before_maximum, on_matcher),
    Mutation(one_softmax, on_matcher),
    Mutation(detector_temperature, on_matcher),
    Mutation(half_cell_shift, on_matcher),
    Mutation(no_fine_peak, on_matcher),
    Mutation(window_column_major, on_matcher),
    Mutation(dropped_gamma, on_pin("nodist")),
    Mutation(values_before_keys, on_pin("nodist")),
    Mutation(stale_observed_branch, on_pin("nodist")),
    Mutation(feature_before_geometry, on_pin("nodist")),
    Mutation(normalised_depth_into_confidence, on_pin("nodist")),
    Mutation(four_undistortions, on_pin("strong")),
    Mutation(swapped_tangential, on_pin("opencv")),
    Mutation(no_undistortion, on_pin("radial")),
    Mutation(sampling_corners, on_sample),
    Mutation(sampling_border, on_sample),
    Mutation(network_scale_for_sampling, on_e2e),
    Mutation(half_up, on_merge),
    Mutation(merge_without_eps, on_merge),
    Mutation(merge_by_equation, on_merge),
    Mutation(lower_confidence_limit, on_merge),
    Mutation(order_by_coarse_confidence, on_topn),
    Mutation(wider_assignment, on_assign),
    Mutation(multiple_of_eight, on_preprocess),
    Mutation(float_resize, on_preprocess),
    Mutation(cross_entropy_weight, on_loss),
]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.break_it.__name__)
def test_parity_notices(
    mutation: Mutation,
    parity_dir: Path,
    network: DeViLocNetwork,
    monkeypatch: Patch,
    tmp_path: Path,
) -> None:
    broken = copy.deepcopy(network)
    with torch.no_grad():
        mutation.break_it(monkeypatch, broken)
    with pytest.raises(AssertionError, match=r"off by|shape|differ|rows are not"):
        mutation.compare(parity_dir, broken, tmp_path)
