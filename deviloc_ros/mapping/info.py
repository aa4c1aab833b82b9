"""What a map or its tiles hold: numbers for people and programs, and a picture from above."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from deviloc_ros.atomic import atomic_path
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.map_file import map_id
from deviloc_ros.maps.tiled_map import TiledMap


def describe_tiles(path: Path, tiled: TiledMap) -> Sequence[dict[str, Any]]:
    """Return what each tile holds as JSON-serialisable values.

    Args:
        path: of the index.
        tiled: opened.

    Raises:
        InputError: a tile cannot be loaded.
    """
    found = []
    for number, tile in enumerate(tiled.tiles):
        part = tiled.store.get(number)
        found.append(
            {
                "file": Path(os.path.relpath(tile.path, path.parent)).as_posix(),
                "id": tile.id,
                "bytes": tile.path.stat().st_size,
                "references": len(part.references),
                "points": len(part.point_array),
                "features": len(part.keypoints),
                "features_with_3d_point": count_lifted(part),
                "camera_positions_min": tile.bounds[0].tolist(),
                "camera_positions_max": tile.bounds[1].tolist(),
            }
        )
    return found


def count_lifted(reference_map: Map) -> int:
    """Return how many features have a 3D point."""
    return int(np.count_nonzero(np.asarray(reference_map.confidence, dtype=np.float32) > 0))


def tile_text(tile: dict[str, Any], unit: str) -> str:
    """Return a tile of `describe_tiles` in one line."""
    sides = np.subtract(tile["camera_positions_max"], tile["camera_positions_min"])
    extent = " x ".join(f"{side:.0f}" for side in sides)
    low = ", ".join(f"{value:.0f}" for value in tile["camera_positions_min"])
    return (
        f"{tile['references']} images, {tile['points']} points, {tile['bytes'] / 1e6:.1f} MB, "
        f"{extent} {unit} from ({low})"
    )


SHOWN_SHARE = 99.0
VIEW_LENGTH = 0.03


def describe_map(path: Path, reference_map: Map) -> dict[str, Any]:
    """Return what a map holds as JSON-serialisable values."""
    observed = np.diff(reference_map.observation_offsets)
    lower, upper = reference_map.bounds
    tiles = describe_tiles(path, reference_map) if isinstance(reference_map, TiledMap) else None
    return {
        "path": str(path),
        "id": map_id(path),
        "bytes": path.stat().st_size,
        "references": len(reference_map.references),
        "looks": dict(Counter(r.look for r in reference_map.references)),
        "unregistered": dict(reference_map.unregistered),
        "cameras": {
            text: count
            for text, count in Counter(str(r.camera) for r in reference_map.references).items()
        },
        "points": len(reference_map.point_array),
        "points_seen_per_reference": float(observed.mean()),
        "features": len(reference_map.keypoints),
        "features_with_3d_point": (
            count_lifted(reference_map)
            if tiles is None
            else sum(tile["features_with_3d_point"] for tile in tiles)
        ),
        "metric": reference_map.metric,
        "gravity_aligned": reference_map.gravity_aligned,
        "camera_positions_min": lower.tolist(),
        "camera_positions_max": upper.tolist(),
        "calibration": {
            "offset_bias_px": reference_map.calibration.offset_bias.tolist(),
            "offset_pull_px": reference_map.calibration.offset_pull.tolist(),
            "covariance_scale": reference_map.calibration.covariance_scale,
            "topicfm_covariance_scale": reference_map.calibration.topicfm_covariance_scale,
            "aligned_shared_error_px": reference_map.calibration.aligned_shared_error,
        },
        "meta": dict(reference_map.meta),
        **({} if tiles is None else {"tiles": tiles}),
    }


def info_text(info: dict[str, Any]) -> str:
    """Return a table of `describe_map` for people, with what to do about what is missing."""
    extent = np.subtract(info["camera_positions_max"], info["camera_positions_min"])
    unit = "m" if info["metric"] else "units"
    frame = [
        "metric" if info["metric"] else "not metric ('deviloc map align' makes it so)",
        "z up" if info["gravity_aligned"] else "direction of up unknown",
    ]
    share = 100 * info["features_with_3d_point"] / max(info["features"], 1)
    rows = [
        ("map", f"{info['path']} ({info['bytes'] / 1e6:.1f} MB, id {info['id']})"),
        ("frame", ", ".join(frame)),
        ("reference images", str(info["references"])),
        *_looks_row(info["looks"]),
        ("not in the map", str(len(info["unregistered"]))),
        ("cameras", str(len(info["cameras"]))),
        ("camera positions", " x ".join(f"{side:.2f}" for side in extent) + f" {unit}"),
        (
            "SfM points",
            f"{info['points']} ({info['points_seen_per_reference']:.0f} seen per image)",
        ),
        ("features", f"{info['features']} ({share:.0f} % with a 3D point)"),
    ]
    if "tiles" in info:
        rows.append(("tiles", str(len(info["tiles"]))))
        rows += [(f"  {tile['file']}", tile_text(tile, unit)) for tile in info["tiles"]]
    rows += [(f"  {name}", reason) for name, reason in sorted(info["unregistered"].items())]
    rows += [(name, str(value)) for name, value in info["meta"].items()]
    width = max(len(label) for label, _ in rows) + 2
    return "\n".join(f"{label:<{width}}{value}" for label, value in rows)


def _looks_row(looks: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return a row of how many images show each look, if there are several."""
    if len(looks) < 2:
        return []
    return [("looks", ", ".join(f"{name or 'first'}: {count}" for name, count in looks.items()))]


def draw_map(path: Path, reference_map: Map) -> None:
    """Write a picture (PNG, PDF or SVG by its name) of points and cameras from above.

    From above is along z in a map whose z is up, and else along the axis in which the cameras
    spread least.

    Raises:
        InputError: the file cannot be written.
    """
    centres = reference_map.viewpoints[0]
    forward = np.array(
        [r.camera_from_map.rotation.inv().apply((0, 0, 1)) for r in reference_map.references]
    )
    axes3 = (
        np.eye(3)
        if reference_map.gravity_aligned
        else np.linalg.svd(centres - centres.mean(axis=0), full_matrices=True)[2]
    )
    points = reference_map.points3d @ axes3.T
    centres, forward = centres @ axes3.T, forward @ axes3.T

    figure = Figure(figsize=(9, 9), layout="constrained")
    axes = figure.subplots()
    shown = points
    if len(points):
        # Far outliers would shrink everything else to a dot.
        low, high = np.percentile(points, [100 - SHOWN_SHARE, SHOWN_SHARE], axis=0)
        low, high = np.minimum(low, centres.min(axis=0)), np.maximum(high, centres.max(axis=0))
        shown = points[((points >= low) & (points <= high)).all(axis=1)]
        axes.scatter(shown[:, 0], shown[:, 1], s=0.5, c=shown[:, 2], cmap="viridis", linewidths=0)
    everything = np.concatenate([shown, centres])
    length = VIEW_LENGTH * float(np.ptp(everything[:, :2], axis=0).max())
    views = [(a[:2], a[:2] + length * b[:2]) for a, b in zip(centres, forward, strict=True)]
    axes.add_collection(LineCollection(views, colors="tab:red", linewidths=1))
    axes.plot(centres[:, 0], centres[:, 1], ".", color="tab:red", markersize=4)
    axes.set_aspect("equal")
    unit = "m" if reference_map.metric else "map units"
    frame = "x and y" if reference_map.gravity_aligned else "main plane of the cameras"
    axes.set_title(f"{len(centres)} references, {len(points)} points; {frame}, {unit}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)
