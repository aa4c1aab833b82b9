"""An evaluation as one HTML page: summary, trajectory, error curves, errors of every image."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.evaluation.errors import Evaluation, Threshold, move
from deviloc_ros.evaluation.tables import image_table, summary_text
from deviloc_ros.geometry.transform import Transform

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em }}
pre {{ background: #f4f4f4; padding: 1em; overflow-x: auto }}
img {{ max-width: 100% }}
</style></head><body><h1>{title}</h1>{link}<pre>{summary}</pre>
<img alt="Camera positions from above and cumulative errors" src="data:image/png;base64,{plots}">
<h2>Images</h2><pre>{table}</pre></body></html>
"""


def write_report(
    path: Path,
    evaluation: Evaluation,
    thresholds: Sequence[Threshold],
    estimated: Mapping[str, Transform],
    truth: Mapping[str, Transform],
    view: str | None = None,
) -> None:
    """Write the page; it needs no other file.

    Args:
        path: the .html file.
        evaluation: the errors.
        thresholds: limits to state the recall at.
        estimated: camera_from_map as given, before any alignment.
        truth: camera_from_truth.
        view: a page that shows the poses in the map, relative to this one, to link to.

    Raises:
        InputError: the file cannot be written.
    """
    if evaluation.fit is not None:
        estimated = move(estimated, evaluation.fit.target_from_source)
    page = PAGE.format(
        title="Pose errors",
        link=f'<p><a href="{html.escape(view)}">The poses in the map, in 3D</a></p>'
        if view
        else "",
        summary=html.escape(summary_text(evaluation, thresholds)),
        plots=base64.b64encode(_plots(evaluation, estimated, truth)).decode("ascii"),
        table=html.escape(image_table(evaluation)),
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _plots(
    evaluation: Evaluation, estimated: Mapping[str, Transform], truth: Mapping[str, Transform]
) -> bytes:
    figure = Figure(figsize=(14, 5), layout="constrained")
    above, positions, rotations = figure.subplots(1, 3)
    _plot_trajectory(above, evaluation, estimated, truth)
    _plot_cumulative(
        positions, [image.position for image in evaluation.images], "position error, m"
    )
    _plot_cumulative(
        rotations, [image.rotation for image in evaluation.images], "rotation error, deg"
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


def _plot_trajectory(
    axes: Axes,
    evaluation: Evaluation,
    estimated: Mapping[str, Transform],
    truth: Mapping[str, Transform],
) -> None:
    """Draw camera centres in the plane in which they spread most."""
    names = [image.name for image in evaluation.images]
    true = np.array([truth[name].inverse().translation for name in names])
    plane = _main_plane(true)
    flat = (true - true.mean(axis=0)) @ plane.T
    axes.plot(*flat.T, ".", color="0.7", markersize=9, label="truth")
    localized = [i for i, name in enumerate(names) if name in estimated]
    if localized:
        centres = np.array([estimated[names[i]].inverse().translation for i in localized])
        found = (centres - true.mean(axis=0)) @ plane.T
        axes.plot(*found.T, "+", color="tab:green", label="estimated")
        for i, position in zip(localized, found, strict=True):
            axes.plot(*np.stack([flat[i], position]).T, color="tab:red", linewidth=0.8)
    failed = [i for i, name in enumerate(names) if name not in estimated]
    if failed:
        axes.plot(*flat[failed].T, "x", color="tab:red", label="no pose")
    # A stray estimate must not shrink the trajectory to a point.
    margin = 0.1 * max(float(np.ptp(flat, axis=0).max()), 1e-3) + 1e-3
    axes.set_xlim(flat[:, 0].min() - margin, flat[:, 0].max() + margin)
    axes.set_ylim(flat[:, 1].min() - margin, flat[:, 1].max() + margin)
    axes.set_aspect("equal", adjustable="box")
    axes.set_title("camera positions in their main plane, m")
    axes.legend()


def _plot_cumulative(axes: Axes, errors: Sequence[float | None], label: str) -> None:
    """Draw the share of all images below an error; images without a pose never get there."""
    found = np.sort([max(error, 1e-9) for error in errors if error is not None])
    if len(found):
        axes.step(found, 100 * np.arange(1, len(found) + 1) / len(errors), where="post")
        axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.set_ylabel("images below it, % of all")
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)


def _main_plane(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two unit axes (2, 3) along which points (N, 3) spread most."""
    return np.asarray(np.linalg.svd(points - points.mean(axis=0), full_matrices=True)[2][:2])
