"""The plots of the demo's page, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from deviloc_ros.demo.score import Score
from deviloc_ros.maps.map import Map

INK, TRUTH, ESTIMATE, ODOMETRY, FAILURE = "#1f2933", "#9aa5b1", "#0b7285", "#e8590c", "#c92a2a"
STAGES = ("#0b7285", "#1098ad", "#3bc9db", "#99e9f2", "#74c0fc", "#a5d8ff", "#d0ebff", "#ced4da")
ELLIPSE_SCALE = 10.0


def from_above(scores: Sequence[Score], reference_map: Map) -> str:
    """Draw map points, both passes, poses with covariance and what odometry alone would say."""
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots()
    references = np.array(
        [r.camera_from_map.inverse().translation for r in reference_map.references]
    )
    truth = np.array([s.truth.translation for s in scores])
    reckoned = np.array([s.dead_reckoning.translation for s in scores])
    axes.set_xlim(truth[:, 0].min() - 6, truth[:, 0].max() + 14)
    middle = (truth[:, 1].min() + truth[:, 1].max()) / 2
    half = max(np.ptp(truth[:, 1]) / 2 + 8, 12.0)
    axes.set_ylim(middle - half, middle + half)
    points = reference_map.points3d
    axes.scatter(
        points[:, 0], points[:, 1], s=1.2, c="#ced4da", linewidths=0, rasterized=True, zorder=0
    )
    axes.plot(
        references[:, 0], references[:, 1], "^", ms=4, color="#adb5bd", label="map images (day)"
    )
    axes.plot(truth[:, 0], truth[:, 1], "-", color=TRUTH, lw=5, alpha=0.6, label="truth")
    axes.plot(reckoned[:, 0], reckoned[:, 1], "--", color=ODOMETRY, lw=1.6, label="odometry alone")
    found = [s for s in scores if s.pose is not None]
    for s in found:
        assert s.pose is not None
        assert s.covariance is not None
        values, vectors = np.linalg.eigh(s.covariance[:2, :2])
        width, height = 2 * ELLIPSE_SCALE * np.sqrt(values)
        angle = np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0]))
        axes.add_patch(
            Ellipse(
                (s.pose.translation[0], s.pose.translation[1]),
                width,
                height,
                angle=angle,
                color=ESTIMATE,
                alpha=0.25,
                lw=0,
            )
        )
    if found:
        poses = np.array([s.pose.translation for s in found if s.pose is not None])
        label = f"localized (evening), 1σ ellipses × {ELLIPSE_SCALE:g}"
        axes.plot(poses[:, 0], poses[:, 1], ".", color=ESTIMATE, ms=6, label=label)
    lost = np.array([s.truth.translation for s in scores if s.pose is None])
    if len(lost):
        axes.plot(lost[:, 0], lost[:, 1], "x", color=FAILURE, ms=7, label="no pose")
    axes.set_aspect("equal", adjustable="box")
    axes.set_xlabel("x, m")
    axes.set_ylabel("y, m")
    figure.legend(loc="outside upper center", ncols=5, frameon=False)
    return _svg(figure)


def errors_over_time(scores: Sequence[Score]) -> str:
    """Draw position and rotation errors with the standard deviations that were reported."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    position, rotation = figure.subplots(2, 1, sharex=True)
    found = [s for s in scores if s.error is not None and s.covariance is not None]
    times = np.array([s.seconds for s in found])
    errors = np.array([s.error for s in found if s.error is not None]).reshape(-1, 2)
    covariances = np.array([s.covariance for s in found if s.covariance is not None])
    covariances = covariances.reshape(-1, 6, 6)
    lost = [s.seconds for s in scores if s.error is None]
    for axes, column, scale, block, unit in (
        (position, 0, 100.0, slice(0, 3), "position, cm"),
        (rotation, 1, 1.0, slice(3, 6), "rotation, deg"),
    ):
        sigma = np.sqrt(np.trace(covariances[:, block, block], axis1=1, axis2=2))
        sigma = sigma * scale if column == 0 else np.degrees(sigma)
        if len(times):
            axes.fill_between(
                times, 1e-3, 3 * sigma, color=ESTIMATE, alpha=0.13, lw=0, label="3σ as reported"
            )
            axes.plot(times, scale * errors[:, column], ".-", color=ESTIMATE, lw=1, label="error")
            axes.set_yscale("log")
            low = max(float((scale * errors[:, column]).min()) / 2, 1e-3)
            axes.set_ylim(low, 2 * max(float((3 * sigma).max()), scale * errors[:, column].max()))
        for second in lost:
            axes.axvline(second, color=FAILURE, lw=0.8, alpha=0.6)
        axes.set_ylabel(unit)
        _tidy(axes)
    position.legend(loc="upper right", frameon=False, ncols=2)
    rotation.set_xlabel("seconds of the drive")
    return _svg(figure)


def stage_times(scores: Sequence[Score]) -> str:
    """Draw the mean time of each stage as one bar."""
    figure = Figure(figsize=(11, 2.3), layout="constrained")
    axes = figure.subplots()
    left = 0.0
    for (stage, seconds), colour in zip(mean_stages(scores).items(), STAGES * 3, strict=False):
        width = 1e3 * seconds
        axes.barh(0, width, left=left, color=colour, label=f"{stage} {width:.0f} ms")
        left += width
    axes.set_yticks([])
    axes.set_xlabel("ms an image, mean of the offline run")
    axes.set_xlim(0, left * 1.001 or 1)
    if left:
        figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    _tidy(axes)
    return _svg(figure)


def mean_stages(scores: Sequence[Score]) -> dict[str, float]:
    """Return the mean seconds a stage took, without the first image, which warms up."""
    stages: dict[str, list[float]] = {}
    for s in scores[1:] or scores:
        for stage, seconds in s.offline.stage_seconds.items():
            stages.setdefault(stage, []).append(seconds)
    return {stage: float(np.mean(seconds)) for stage, seconds in stages.items()}


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.25)


def _svg(figure: Figure) -> str:
    """Return the figure as an <svg> element."""
    style: Any = {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "deviloc"}
    with mpl.rc_context(style):
        stream = io.StringIO()
        figure.savefig(stream, format="svg", dpi=150, metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]
