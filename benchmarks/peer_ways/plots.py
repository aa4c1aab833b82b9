"""Results of benchmarks/peers.py as a picture: errors by hardship, and what a query costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt

from deviloc_ros.atomic import atomic_path

mpl.use("Agg")
MARKERS = "osD^vX*P"
WORST = 10.0  # where what has no pose is drawn, metres


def draw(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw medians of all queries, of maps with all points; a line of pictures a scene.

    Left: the median position error by hardship, on a logarithmic scale; a way whose median query
    has no pose is at the upper edge. Right: the same of clean queries against CPU-seconds a query.

    Args:
        records: of queries, see benchmarks/peers.py.
        path: of the PNG file.
    """
    full = [record for record in records if record["variant"] == "full"]
    scenes = sorted({record["scene"] for record in full})
    ways = sorted({record["way"] for record in records})
    figure, axes = plt.subplots(
        max(len(scenes), 1), 2, figsize=(12, 3.2 * max(len(scenes), 1)), squeeze=False
    )
    for row, scene in zip(axes, scenes, strict=False):
        of_scene = [record for record in full if record["scene"] == scene]
        hardships = list(dict.fromkeys(record["hardship"] for record in of_scene))
        for way, marker in zip(ways, MARKERS, strict=False):
            found = [record for record in of_scene if record["way"] == way]
            medians = [
                _median([record for record in found if record["hardship"] == hardship])
                for hardship in hardships
            ]
            row[0].plot(hardships, medians, marker, label=way, linestyle=":", linewidth=0.6)
            clean = [record for record in found if record["hardship"] == "clean"]
            if clean:
                seconds = float(np.mean([record["cpu_seconds"] for record in clean]))
                row[1].plot([seconds], [_median(clean)], marker, label=way)
        row[0].set_title(f"{scene}: median position error, m")
        row[1].set_title(f"{scene}, clean: error, m, against CPU-seconds a query")
        for axis in row:
            axis.set_yscale("log")
            axis.grid(alpha=0.3)
        row[1].set_xscale("log")
        row[0].tick_params(axis="x", labelrotation=20)
        row[1].legend(fontsize="small")
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")
    plt.close(figure)


def _median(records: Sequence[Mapping[str, Any]]) -> float:
    if not records:
        return float("nan")
    errors = [np.inf if record["error"] is None else record["error"][0] for record in records]
    return min(float(np.median(errors)), WORST)
