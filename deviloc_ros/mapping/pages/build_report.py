"""What became of the images of a map, where it is thin, and what can be expected of it: a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.geometry.similarity_fit import UnderdeterminedError, fit_cameras
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.pages.stretches import (
    THIN_POINTS,
    THIN_SHARED,
    Coverage,
    Stretch,
    Way,
)
from deviloc_ros.maps.map import Map

MOST_NAMED = 50
MOST_DRAWN = 60_000
SHOWN_SHARE = 98.0
COLORS = {Coverage.GOOD: "tab:green", Coverage.THIN: "tab:orange", Coverage.POOR: "tab:red"}
KINDS = {Coverage.GOOD: "", Coverage.THIN: "thin", Coverage.POOR: "poor"}


@dataclass(frozen=True)
class ReportInputs:
    """What the page tells beside the map and its way.

    Attributes:
        title: of the page.
        lines: of text, at its top.
        passed: how many images of a drive were not taken for the map, by the reason.
        odometry: camera_from_odometry of images, by name.
        fixes: (N, 3) positions of a satellite receiver in the map frame.
        view: page that shows the map in 3D, relative to this one; None: there is none.
    """

    title: str
    lines: Sequence[str]
    passed: Mapping[str, int] = field(default_factory=dict)
    odometry: Mapping[str, Transform] = field(default_factory=dict)
    fixes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    view: str | None = None


def write_build_report(path: Path, built: Map, way: Way, inputs: ReportInputs) -> None:
    """Write the page.

    Raises:
        InputError: the file cannot be written.
    """
    unit = "m" if built.metric else "units"
    unregistered = sorted(built.unregistered.items())
    template = files("deviloc_ros.mapping.pages").joinpath("build_report.html")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    missing = unregistered[:MOST_NAMED]
    if len(unregistered) > MOST_NAMED:
        missing.append(("and more", f"{len(unregistered) - MOST_NAMED} images"))
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        title=inputs.title,
        lines=inputs.lines,
        view=inputs.view,
        above=_png(_from_above(built, way, inputs, unit)),
        along=_png(_along(way, unit)),
        unit=unit,
        thin_points=THIN_POINTS,
        thin_shared=THIN_SHARED,
        rows=[_row(stretch) for stretch in way.stretches],
        reasons=sorted(inputs.passed.items(), key=lambda item: -item[1]),
        missing=missing,
    )
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def stretch_lines(way: Way, unit: str) -> list[str]:
    """Return in lines where a map is thin, for people."""
    error, turn = way.own.median(way.own.found)
    lines = [
        f"expected: {way.own.num_found} of {len(way.own.indices)} images localized without "
        f"themselves, median error {error:.4f} {unit}, {turn:.3f} deg"
    ]
    lines += [
        f"{stretch.begin:.1f} to {stretch.end:.1f} {unit} of the way: {stretch.coverage.value}"
        for stretch in way.stretches
        if stretch.coverage is not Coverage.GOOD
    ]
    return lines


def _row(stretch: Stretch) -> dict[str, Any]:
    found = stretch.num_found > 0
    return {
        "kind": KINDS[stretch.coverage],
        "begin": f"{stretch.begin:.1f}",
        "end": f"{stretch.end:.1f}",
        "images": stretch.num_images,
        "missing": stretch.num_missing,
        "points": f"{stretch.points:.0f}",
        "shared": f"{stretch.shared:.0f}",
        "found": f"{stretch.num_found} of {stretch.num_tried}",
        "error": f"{stretch.error:.4f}" if found else "-",
        "turn": f"{stretch.turn:.3f}" if found else "-",
        "coverage": stretch.coverage.value,
    }


def _from_above(built: Map, way: Way, inputs: ReportInputs, unit: str) -> Figure:
    axes3 = _plane(built, way)
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes: Axes = figure.subplots()
    points = built.points3d[:: max(1, len(built.points3d) // MOST_DRAWN)] @ axes3.T
    centres = way.centres @ axes3.T
    if len(points):
        low, high = np.percentile(points, [100 - SHOWN_SHARE, SHOWN_SHARE], axis=0)
        low, high = np.minimum(low, centres.min(axis=0)), np.maximum(high, centres.max(axis=0))
        shown = points[((points >= low) & (points <= high)).all(axis=1)]
        axes.plot(shown[:, 0], shown[:, 1], ",", color="0.6", rasterized=True)
    told: set[str] = set()

    def label(text: str) -> str:
        """Return a label the first time, and then none."""
        new = "_nolegend_" if text in told else text
        told.add(text)
        return new

    for stretch in way.stretches:
        begin, end = stretch.moments
        part = centres[begin : end + 1]
        coverage = stretch.coverage
        axes.plot(part[:, 0], part[:, 1], "-", color=COLORS[coverage], lw=2,
                  label=label(coverage.value))  # fmt: skip
        axes.plot(centres[begin:end, 0], centres[begin:end, 1], ".", color=COLORS[coverage], ms=4)
    if len(inputs.fixes):
        fixes = inputs.fixes @ axes3.T
        axes.plot(fixes[:, 0], fixes[:, 1], "+", color="tab:purple", ms=4, alpha=0.5,
                  label="satellite fixes")  # fmt: skip
    told_by_odometry = _odometry_in_map(built, inputs.odometry)
    if told_by_odometry:
        line = np.array([told_by_odometry[name] for name in sorted(told_by_odometry)]) @ axes3.T
        axes.plot(line[:, 0], line[:, 1], "--", color="tab:blue", lw=1, label="odometry")
        gone = [told_by_odometry[name] for name in built.unregistered if name in told_by_odometry]
        if gone:
            at = np.array(gone) @ axes3.T
            axes.plot(at[:, 0], at[:, 1], "x", color="black", label="not in the map")
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(f"x, {unit}")
    axes.set_ylabel(f"y, {unit}")
    axes.legend(loc="best", fontsize=8)
    return figure


def _plane(built: Map, way: Way) -> NDArray[np.float64]:
    """Return axes (3, 3) to look along the last of: z, or where cameras spread least."""
    if built.gravity_aligned:
        return np.eye(3)
    centred = way.centres - way.centres.mean(axis=0)
    return np.asarray(np.linalg.svd(centred, full_matrices=True)[2])


def _odometry_in_map(
    built: Map, odometry: Mapping[str, Transform]
) -> dict[str, NDArray[np.float64]]:
    """Return where odometry has images (3,), laid upon the map as a rigid body."""
    poses = {r.name: r.camera_from_map for r in built.references if r.name in odometry}
    try:
        fit = fit_cameras(
            [odometry[name] for name in poses], list(poses.values()), fixed_scale=True
        )
    except UnderdeterminedError:
        return {}
    map_from_odom = fit.target_from_source
    return {
        name: map_from_odom.apply(pose.inverse().translation) for name, pose in odometry.items()
    }


def _along(way: Way, unit: str) -> Figure:
    figure = Figure(figsize=(9, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(way.along, way.points, "-", color="tab:blue", label="points an image sees")
    if len(way.shared):
        upper.plot(way.along[:-1], way.shared, "-", color="tab:orange",
                   label="of these, the next image too")  # fmt: skip
    upper.set_yscale("symlog")
    upper.set_ylim(bottom=0)
    upper.legend(fontsize=8)
    place = {moment[0]: x for moment, x in zip(way.moments, way.along, strict=True)}
    at = np.array([place[int(index)] for index in way.own.indices])
    found = way.own.found
    lower.plot(at[found], way.own.errors[found, 0], ".", color="tab:green", label="localized")
    if (~found).any():
        bottom = np.nanmax(way.own.errors[:, 0]) if found.any() else 1.0
        lower.plot(at[~found], np.full((~found).sum(), bottom), "x", color="tab:red",
                   label="not localized")  # fmt: skip
    lower.set_yscale("log")
    lower.set_ylabel(f"error, {unit}")
    lower.set_xlabel(f"way, {unit}")
    lower.legend(fontsize=8)
    return figure


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
