"""A map as one HTML page that turns in a browser, without a network."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib import colormaps
from numpy.typing import NDArray
from scipy.stats import chi2

from deviloc_ros.atomic import atomic_path
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.tiled_map import TiledMap

# More points than this make pages slow; every n-th is drawn.
MAX_POINTS = 400_000
# Length of a drawn camera, as a share of the scene's radius.
CAMERA_SHARE = 0.02
SHOWN_SHARE = 98.0
RING_STEPS = 24
CONFIDENCE = 0.95
LOOK_COLORS = ("#ff6b5e", "#58a6ff", "#d2a8ff", "#7ee787", "#ffd866", "#ff9bce")
TILE_COLOR, POSE_COLOR, ELLIPSOID_COLOR, POINT_COLOR = "#8b949e", "#00e5c0", "#e3b341", "#35b779"


def write_view(
    path: Path,
    reference_map: Map,
    poses: Mapping[str, Transform],
    covariances: Mapping[str, NDArray[np.float64]],
    title: str,
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        reference_map: the map.
        poses: camera_from_map of a run's images, by name.
        covariances: (6, 6) of map_from_camera of some of them; positions are drawn as ellipsoids
            that hold 95 %.
        title: of the page.

    Raises:
        InputError: the file cannot be written, or a tile cannot be read.
    """
    scene = _Scene(reference_map)
    points, step = scene.points()
    groups = [_group(f"points ({len(points)})", POINT_COLOR, points, scene.heights(points), False)]
    labels: list[list[Any]] = []
    looks = list(dict.fromkeys(r.look for r in reference_map.references))
    for number, look in enumerate(looks):
        chosen = [r for r in reference_map.references if r.look == look]
        color = LOOK_COLORS[number % len(LOOK_COLORS)]
        named = look or ("first look" if len(looks) > 1 else "images")
        lines = [scene.frustum(r.camera_from_map, r.camera) for r in chosen]
        groups.append(_lines(f"{named} ({len(chosen)})", color, lines))
        labels += [[r.name, *scene.centre_of(r.camera_from_map)] for r in chosen]
    if isinstance(reference_map, TiledMap):
        boxes = [_box(tile.bounds - scene.middle) for tile in reference_map.tiles]
        groups.append(_lines(f"tiles ({len(boxes)})", TILE_COLOR, boxes))
    if poses:
        lines = [scene.frustum(pose, None) for pose in poses.values()]
        groups.append(_lines(f"poses ({len(poses)})", POSE_COLOR, lines))
        labels += [[name, *scene.centre_of(pose)] for name, pose in poses.items()]
        rings = [
            _ellipsoid(np.array(scene.centre_of(poses[name])), covariance[:3, :3])
            for name, covariance in covariances.items()
            if name in poses
        ]
        if rings:
            groups.append(_lines(f"95 % of positions ({len(rings)})", ELLIPSOID_COLOR, rings))
    unit = "metres" if reference_map.metric else "map units"
    lines_of_text = [
        f"{len(reference_map.references)} images, {len(reference_map.point_array)} points; {unit}, "
        + ("z up" if reference_map.gravity_aligned else "direction of up unknown")
    ]
    if step > 1:
        lines_of_text.append(f"Every {step}th point is drawn.")
    content = {"groups": groups, "labels": labels, "radius": scene.radius}
    template = (
        files("deviloc_ros.mapping.pages").joinpath("view_page.html").read_text(encoding="utf-8")
    )
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    # "<" would end the script where a name holds "</script>".
    data = json.dumps(content, allow_nan=False).replace("<", "\\u003c")
    page = environment.from_string(template).render(title=title, lines=lines_of_text, data=data)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


class _Scene:
    """Where things are drawn: about the middle of the map, z up where that is known."""

    def __init__(self, reference_map: Map) -> None:
        self._map = reference_map
        centres = np.array(
            [r.camera_from_map.inverse().translation for r in reference_map.references]
        )
        self.middle = np.median(centres, axis=0)
        spread = float(np.linalg.norm(centres - self.middle, axis=1).max())
        every = max(1, len(reference_map.point_array) // MAX_POINTS)
        sample = np.asarray(reference_map.point_array[:: max(every, 1)], dtype=np.float64)
        self._step = every
        self._points = sample + reference_map.origin - self.middle
        reach = np.linalg.norm(self._points, axis=1)
        far = float(np.percentile(reach, 90)) if len(reach) else 0.0
        self.radius = max(spread, far, 1e-6)

    def points(self) -> tuple[NDArray[np.float64], int]:
        """Return points (N, 3) without far outliers, and how many stand for one."""
        if not len(self._points):
            return self._points, self._step
        low, high = np.percentile(self._points, [100 - SHOWN_SHARE, SHOWN_SHARE], axis=0)
        margin = (high - low) / 2
        kept = (self._points >= low - margin) & (self._points <= high + margin)
        return self._points[kept.all(axis=1)], self._step

    @staticmethod
    def heights(points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return the colours (N, 3) of points by their height."""
        if not len(points):
            return np.zeros((0, 3), dtype=np.uint8)
        low, high = np.percentile(points[:, 2], [5, 95])
        shade = np.clip((points[:, 2] - low) / max(high - low, 1e-9), 0, 1)
        return np.asarray(colormaps["viridis"](shade, bytes=True)[:, :3], dtype=np.uint8)

    def centre_of(self, camera_from_map: Transform) -> list[float]:
        """Return where a camera is drawn."""
        return [float(x) for x in camera_from_map.inverse().translation - self.middle]

    def frustum(self, camera_from_map: Transform, camera: Camera | None) -> NDArray[np.float64]:
        """Return the lines (2 n, 3) of a camera's pyramid; without a camera, one of 60 degrees."""
        if camera is None:
            corners = np.array([(-0.6, -0.4, 1), (0.6, -0.4, 1), (0.6, 0.4, 1), (-0.6, 0.4, 1)])
        else:
            w, h = camera.width, camera.height
            corners = camera.rays(np.array([(0, 0), (w, 0), (w, h), (0, h)], dtype=np.float64))
            if not np.isfinite(corners).all():  # beyond what a fisheye sees
                return self.frustum(camera_from_map, None)
        apex = np.zeros(3)
        tips = corners * self.radius * CAMERA_SHARE
        around = [x for i in range(4) for x in (tips[i], tips[(i + 1) % 4])]
        sides = [x for tip in tips for x in (apex, tip)]
        lines = camera_from_map.inverse().apply(np.array([*around, *sides]))
        return np.asarray(lines - self.middle)


def _box(bounds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges (24, 3) of a box (2, 3)."""
    corners = np.array([[bounds[i, 0], bounds[j, 1], bounds[k, 2]]
                        for i in (0, 1) for j in (0, 1) for k in (0, 1)])  # fmt: skip
    edges = [(a, a | bit) for a in range(8) for bit in (1, 2, 4) if not a & bit]
    return np.asarray(corners[np.array(edges).ravel()])


def _ellipsoid(centre: NDArray[np.float64], covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return three rings of line segments (6 n, 3) about a position."""
    scale, axes = np.linalg.eigh(covariance)
    half = axes * np.sqrt(np.maximum(scale, 0) * chi2.ppf(CONFIDENCE, 3))
    angle = np.linspace(0, 2 * np.pi, RING_STEPS + 1)
    rings = []
    for a, b in ((0, 1), (1, 2), (2, 0)):
        ring = centre + np.outer(np.cos(angle), half[:, a]) + np.outer(np.sin(angle), half[:, b])
        rings.append(np.stack([ring[:-1], ring[1:]], axis=1).reshape(-1, 3))
    return np.concatenate(rings)


def _lines(name: str, color: str, parts: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
    positions = np.concatenate([np.zeros((0, 3)), *parts])
    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], dtype=np.uint8)
    return _group(name, color, positions, np.tile(rgb, (len(positions), 1)), True)


def _group(
    name: str,
    color: str,
    positions: NDArray[np.float64],
    colors: NDArray[np.uint8],
    lines: bool,
) -> dict[str, Any]:
    return {
        "name": name,
        "color": color,
        "lines": lines,
        "positions": base64.b64encode(positions.astype("<f4").tobytes()).decode(),
        "colors": base64.b64encode(colors.tobytes()).decode(),
    }
