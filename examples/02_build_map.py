#!/usr/bin/env python3
"""Build a map from photographs, and make it metric if positions of the camera are known.

python examples/02_build_map.py photos/ place.devmap --positions positions.txt
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deviloc_ros import Camera, InputError, Map
from deviloc_ros.datasets.poses import read_positions
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.mapping.map_frame import fit_map_to_positions, transform_map
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics


def main() -> None:
    """Build the map and say what is in it."""
    parser = argparse.ArgumentParser(description="Build a map from photographs.")
    parser.add_argument("photos", type=Path, help="folder of 30 to 100 overlapping photographs")
    parser.add_argument("map", type=Path, help="the map file to write")
    parser.add_argument("--camera", help="known intrinsics, such as 'PINHOLE 640 480 500 500 ...'")
    parser.add_argument("--positions", type=Path, help="lines 'name x y z', metres, z up")
    args = parser.parse_args()

    try:
        known = Camera.parse(args.camera) if args.camera else None
        positions = read_positions(args.positions) if args.positions else {}
        # COLMAP finds poses and points. If you have poses, give their COLMAP model instead of None.
        options = BuildOptions(intrinsics=Intrinsics(known=known))
        summary = build_map(args.photos, args.map, None, options)
        if positions:
            make_metric(args.map, summary.map, positions)
    except InputError as error:
        parser.error(str(error))

    built = summary.map
    print(f"{len(built.references)} of {summary.num_images} photographs are in the map:")
    print(f"{len(built.points3d)} points, {len(built.keypoints)} features")
    for name, reason in built.unregistered.items():
        print(f"not in the map: {name}: {reason}")
    # Photographs alone tell neither scale nor up: the node publishes no TF from such a map.
    print("the map is metric and z is up" if positions else "scale and up are unknown")


def make_metric(path: Path, built: Map, positions: Mapping[str, NDArray[np.float64]]) -> None:
    """Bring the map into the frame of the positions, and write it again.

    Up to nearly half of the positions may be wrong; they are found and left out.
    """
    fit = fit_map_to_positions(built, positions)
    target_from_map = fit.target_from_map
    transform_map(built, target_from_map, metric=True, gravity_aligned=True).save(path)
    agreeing = fit.residuals[fit.inliers]
    print(f"{len(agreeing)} of {len(fit.names)} positions agree to {agreeing.max():.3f} m")


if __name__ == "__main__":
    main()
