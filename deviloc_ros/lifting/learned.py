"""Point inference by a network of our own (docs/pin.md), trained by `deviloc train`."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.lifting.candidates import NUM_INPUTS, Candidates, find_candidates
from deviloc_ros.lifting.geometric import (
    DEPTH_TOLERANCE,
    GeometricInference,
    PointInference,
)
from deviloc_ros.lifting.network import DepthMixture, LiftNetwork
from deviloc_ros.models.runtime import choose_device

WEIGHTS = "pin.safetensors"
# Keypoints at once: bounds memory.
BATCH = 4096


class LearnedInference:
    """A PointInference whose confidence is the probability of a right depth (DEPTH_TOLERANCE)."""

    def __init__(self, device: torch.device, weights: Path | None = None) -> None:
        """Load weights onto a device; those of the package unless told otherwise.

        Raises:
            InputError: the file is missing, damaged or of another network.
        """
        self.device = device
        if weights is not None:
            self.network = _load(weights).to(device)
            return
        with as_file(files("deviloc_ros") / "weights" / WEIGHTS) as path:
            self.network = _load(path).to(device)

    def __call__(
        self,
        keypoints: NDArray[np.float64],
        observations: NDArray[np.float64],
        depths: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return depths (N,) and confidences (N,); see PointInference."""
        if not len(keypoints):
            return np.zeros(0), np.zeros(0)
        candidates = find_candidates(keypoints, observations, depths)
        values, probabilities = [], []
        with torch.inference_mode():
            for start in range(0, len(keypoints), BATCH):
                rows = slice(start, start + BATCH)
                mixture = judge(self.network, candidates, rows, self.device)
                value, probability = mixture.best(float(np.log1p(DEPTH_TOLERANCE)))
                values.append(value.double().cpu().numpy())
                probabilities.append(probability.double().cpu().numpy())
        inverse_depth = candidates.base * np.exp(np.concatenate(values))
        return 1.0 / inverse_depth, np.clip(np.concatenate(probabilities), 0.0, 1.0)


def make_inference(config: LocalizerConfig) -> PointInference:
    """Return the point inference that `lifting.method` names.

    Raises:
        InputError: its weights or the device cannot be used.
    """
    if config.lifting.method == "geometric":
        return GeometricInference()
    return LearnedInference(choose_device(config.device))


def judge(
    network: LiftNetwork, candidates: Candidates, rows: slice, device: torch.device
) -> DepthMixture:
    """Run the network on some of the keypoints."""
    mixture: DepthMixture = network(
        torch.from_numpy(candidates.inputs[rows]).to(device),
        torch.from_numpy(candidates.log_ratio[rows]).to(device),
        torch.from_numpy(candidates.valid[rows]).to(device),
        torch.from_numpy(candidates.roughness[rows]).to(device),
    )
    return mixture


def _load(path: Path) -> LiftNetwork:
    network = LiftNetwork(NUM_INPUTS)
    try:
        network.load_state_dict(load_file(path), strict=True)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: not the weights of the point inference ({reason})") from None
    return network.eval()
