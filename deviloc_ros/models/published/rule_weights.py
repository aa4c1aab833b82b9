"""Weights made by a rule, for tests and benchmarks of the network without the official files.

They stand for nothing but themselves: matches made with them are meaningless. The rule keeps
activations and confidences in the range where errors of an implementation show.
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from deviloc_ros.models.published.deviloc import DeViLocNetwork


def rule_array(key: str, shape: tuple[int, ...], salt: str) -> NDArray[np.float32 | np.int64]:
    """Return the tensor of one key: normal numbers seeded by salt and key, scaled by its kind."""
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    seed = zlib.crc32(f"{salt}|{key}".encode())
    # The legacy stream is part of the rule: its numbers never change.
    normal = np.random.RandomState(seed).standard_normal(shape)
    if leaf == "running_var":
        values = 1 + 0.2 * np.abs(normal)
    elif leaf == "running_mean":
        values = 0.1 * normal
    elif leaf in ("pts2d_scale", "depth_scale"):
        values = 10 + 0.5 * normal
    elif leaf in ("gamma1", "gamma2"):
        values = 0.5 + 0.1 * normal
    elif leaf == "seed_tokens":
        values = normal
    elif len(shape) == 1 and leaf == "bias":
        values = 0.1 * normal + (0.5 if key.endswith("out_coords.2.out.2.bias") else 0.0)
    elif len(shape) == 1:
        values = (1 + 0.1 * normal) * _norm_gain(key)
    else:
        if "backbone." in key:
            normal -= normal.mean(axis=tuple(range(1, len(shape))), keepdims=True)
        values = normal * (_weight_gain(key) / math.sqrt(math.prod(shape[1:])))
    return np.asarray(values, np.float32)


def rule_network(salt: str) -> DeViLocNetwork:
    """Return the network with weights made by the rule."""
    network = DeViLocNetwork()
    state: dict[str, Tensor] = {
        key: torch.from_numpy(rule_array(key, tuple(value.shape), salt))
        for key, value in network.state_dict().items()
    }
    network.load_state_dict(state, strict=True)
    return network


def _norm_gain(key: str) -> float:
    if ".norm_outlayer3." in key:
        return 1.6
    return 0.3 if "coarse_net.feat_aug." in key and key.endswith("norm2.weight") else 1.0


def _weight_gain(key: str) -> float:
    if "backbone." in key:
        return 6.0 if ".layer0." in key else 1.7
    if key.endswith("out_conf.2.out.2.weight"):
        return 6.0
    return 0.5 if key.endswith("detector.1.weight") else 1.0
