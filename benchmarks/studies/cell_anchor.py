"""Where in its cell an XFeat* descriptor lies: the residual of map-map matches against scale.

    ./run bench cell_anchor MAP [MAP ...]

References are matched with their neighbours, as if they were queries without bias correction. A
feature that really lies `d` network pixels from where the map puts it shifts the match by `d` times
the change of scale between the two views. The slope printed is that `d`: zero is right, and
CELL_ANCHOR of localization/features.py is to be raised by it. Use a scene seen from all around: on
a straight drive the change of scale goes with the direction of view, and with it errors of poses.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.features import CELL_ANCHOR, LEVELS, network_sizes
from deviloc_ros.localization.types import Features, Query
from deviloc_ros.mapping.multiview.matching import reference_features
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map

NEIGHBOURS = 5
GATE = 8.0
BINS = (0.4, 0.6, 0.8, 0.95, 1.05, 1.25, 1.6, 2.2)


def residuals(localizer: Localizer, index: int, config: LocalizerConfig) -> np.ndarray:
    """Return rows of (change of scale, x, y): residuals of one reference, network pixels."""
    reference_map = localizer.map
    shared = reference_map.shared_points_with(index)
    shared[index] = 0
    neighbours = np.argsort(-shared, kind="stable")[:NEIGHBOURS]
    features = reference_features(reference_map, index, config, localizer.device)
    reference = reference_map.references[index]
    blank = np.zeros((reference.camera.height, reference.camera.width), np.uint8)
    rows = [np.zeros((0, 3))]
    for level in range(len(LEVELS)):
        kept = features.levels == level
        part = Features(*(getattr(features, name)[kept] for name in Features.__annotations__))
        query = Query(part, reference.camera, blank)
        matches = localizer.match_and_lift(query, neighbours)
        matches = matches.select(matches.confidence == 1.0)
        in_camera = reference.camera_from_map.apply(matches.points3d)
        own_scale = float(part.scales[0])
        residual = (matches.keypoints - reference.camera.project(in_camera)) / own_scale
        for neighbour in neighbours:
            of_it = matches.reference == neighbour
            other = reference_map.references[neighbour]
            depth = other.camera_from_map.apply(matches.points3d[of_it])[:, 2]
            sizes = network_sizes(other.camera.width, other.camera.height, config.features.max_size)
            # Only matches within a level: the map does not tell a match its reference's level.
            scale = other.camera.width / sizes[level][0]
            change = depth / in_camera[of_it, 2] * scale / own_scale
            change *= reference.camera.focal_length / other.camera.focal_length
            rows.append(np.column_stack([change, residual[of_it]]))
    joined = np.concatenate(rows)
    return joined[(np.abs(joined[:, 1:]) < GATE).all(axis=1)]


def main() -> int:
    """Print medians per change of scale, and the slope through them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("maps", type=Path, nargs="+")
    for path in parser.parse_args().maps:
        reference_map = Map.load(path)
        config = LocalizerConfig.model_validate({"features": reference_map.meta["features"]})
        plain = reference_map.with_calibration(Calibration(np.zeros((len(LEVELS), 2))))
        localizer = Localizer(plain, config)
        rows = np.concatenate(
            [residuals(localizer, i, config) for i in range(len(plain.references))]
        )
        print(f"{path}: {len(rows)} matches, anchor {CELL_ANCHOR}")
        centres, medians, weights = [], [], []
        for low, high in itertools.pairwise(BINS):
            inside = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
            if len(inside) < 50:
                continue
            centres.append(np.median(inside[:, 0]))
            medians.append(np.median(inside[:, 1:], axis=0))
            weights.append(np.sqrt(len(inside)))
            x, y = medians[-1]
            print(
                f"  scale {low:.2f}-{high:.2f}: median residual {x:+.2f} {y:+.2f} ({len(inside)})"
            )
        slope = np.polyfit(centres, np.array(medians), 1, w=weights)[0]
        print(f"  slope {slope[0]:+.2f} {slope[1]:+.2f} network pixels")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
