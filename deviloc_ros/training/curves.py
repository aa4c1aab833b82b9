"""The curves of a training run as one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deviloc_ros.atomic import atomic_path
from deviloc_ros.lifting.geometric import DEPTH_TOLERANCE
from deviloc_ros.training.trainer import History
from deviloc_ros.training.validation import Validation

SMOOTHING = 50


def draw_curves(history: History, path: Path) -> None:
    """Write loss, depth errors and the reliability diagram of a run to a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, errors, diagram = figure.subplots(1, 3)
    if len(history.loss) >= SMOOTHING:
        smooth = np.convolve(history.loss, np.full(SMOOTHING, 1 / SMOOTHING), "valid")
        loss.plot(np.arange(len(smooth)) + SMOOTHING, smooth, label="training", color="0.6")
    loss.plot(history.steps, [item.loss for item in history.validations], label="validation")
    loss.set(xlabel="step", title="negative log likelihood")
    loss.legend()
    validations = history.validations
    errors.plot(history.steps, [item.mean_error for item in validations], label="learned")
    geometric = [item.geometric_mean_error for item in validations]
    errors.plot(history.steps, geometric, label="geometric", color="0.6")
    errors.set(xlabel="step", title="mean relative depth error, held-out scenes", ylim=(0, None))
    errors.legend()
    if validations:
        draw_reliability(diagram, validations[-1])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def draw_reliability(axes: object, validation: Validation) -> None:
    """Draw how often depths are right against how confident the network was."""
    axes.plot([0, 1], [0, 1], color="0.8")  # type: ignore[attr-defined]
    axes.plot(validation.predicted, validation.actual, "o-")  # type: ignore[attr-defined]
    axes.set(  # type: ignore[attr-defined]
        xlabel="confidence",
        ylabel=f"share right to {DEPTH_TOLERANCE:.0%}",
        title=f"reliability (mean gap {validation.calibration_error:.3f})",
    )
