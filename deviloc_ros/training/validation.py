"""How good the network is on views it was not trained on, beside geometry; and how honest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.lifting.geometric import DEPTH_TOLERANCE
from deviloc_ros.lifting.network import LiftNetwork
from deviloc_ros.training.batches import Batch

BINS = 10
LARGE_ERROR = 0.05


@dataclass(frozen=True)
class Validation:
    """Depth errors of held-out keypoints, relative.

    Attributes:
        loss: negative log likelihood.
        mean_error: of the network's answers; errors above 1 count as 1.
        large_errors: share of its answers that are off by more than LARGE_ERROR.
        geometric_mean_error: the same of the geometric inference.
        geometric_large_errors: the same of it.
        predicted: (BINS,) mean confidence of the answers in each bin of confidence; NaN if empty.
        actual: (BINS,) share of them that is right to DEPTH_TOLERANCE.
        counts: (BINS,) how many there are.
    """

    loss: float
    mean_error: float
    large_errors: float
    geometric_mean_error: float
    geometric_large_errors: float
    predicted: list[float]
    actual: list[float]
    counts: list[int]

    @property
    def calibration_error(self) -> float:
        """Mean difference of predicted and actual, weighted by count."""
        counts = np.array(self.counts)
        gap = np.abs(np.array(self.predicted) - np.array(self.actual))
        return float(np.nansum(gap * counts) / max(1, counts.sum()))


def validate(network: LiftNetwork, batches: list[Batch]) -> Validation:
    """Measure on batches."""
    losses, values, confidences, targets = [], [], [], []
    network.eval()
    with torch.inference_mode():
        for batch in batches:
            mixture = network(batch.inputs, batch.log_ratio, batch.valid, batch.roughness)
            losses.append(-mixture.log_likelihood(batch.target).mean().item())
            value, confidence = mixture.best(float(np.log1p(DEPTH_TOLERANCE)))
            values.append(value.numpy())
            confidences.append(confidence.numpy())
            targets.append(batch.target.numpy())
    network.train()
    target = np.concatenate(targets).astype(np.float64)
    error = _relative(np.concatenate(values) - target)
    geometric = _relative(-target)
    predicted, actual, counts = reliability(np.concatenate(confidences), error <= DEPTH_TOLERANCE)
    return Validation(
        loss=float(np.mean(losses)),
        mean_error=float(np.minimum(error, 1.0).mean()),
        large_errors=float((error > LARGE_ERROR).mean()),
        geometric_mean_error=float(np.minimum(geometric, 1.0).mean()),
        geometric_large_errors=float((geometric > LARGE_ERROR).mean()),
        predicted=predicted,
        actual=actual,
        counts=counts,
    )


def reliability(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[list[float], list[float], list[int]]:
    """Return for each bin of confidence its mean, the share that is right, and the count."""
    bins = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(bins, confidence, BINS) / counts
        actual = np.bincount(bins, right, BINS) / counts
    return predicted.tolist(), actual.tolist(), counts.tolist()


def _relative(log_difference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return relative errors of the depth from differences of log inverse depth."""
    return np.asarray(np.abs(np.expm1(-log_difference)), dtype=np.float64)
