#!/usr/bin/env python3
"""Localize one image in a map, and print the pose with its uncertainty, or why there is none.

python examples/01_localize_image.py place.devmap query.jpg "PINHOLE 640 480 500 500 320 240"
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deviloc_ros import Camera, InputError, LocalizationFailure, Localizer, PoseEstimate, read_gray


def main() -> int:
    """Return the exit code: 0 with a pose, 3 without."""
    parser = argparse.ArgumentParser(description="Localize one image in a map.")
    parser.add_argument("map", type=Path, help="a map of 'deviloc map build' or example 02")
    parser.add_argument("image", type=Path, help="JPEG, PNG, ...")
    # COLMAP's camera models; the centre of the first pixel is at (0.5, 0.5).
    parser.add_argument("camera", help="such as 'PINHOLE 640 480 500 500 320 240'")
    args = parser.parse_args()

    try:
        camera, image = Camera.parse(args.camera), read_gray(args.image)
        # Loading takes seconds: make one localizer and keep it. One localizer is for one thread.
        localizer = Localizer.load(args.map)
    except InputError as error:  # one line that names the file and what would be right
        parser.error(str(error))

    result = localizer.localize(image, camera)
    if isinstance(result, LocalizationFailure):
        # A failure is a value, never a wrong pose: `result.reason` is an enum to branch on.
        print(f"no pose: {result.reason.name}: {result.details}")
        return 3
    print_pose(result, "m" if localizer.map.metric else "map units")
    return 0


def print_pose(result: PoseEstimate, unit: str) -> None:
    """Print what a robot needs to know."""
    pose = result.map_from_camera  # names read target_from_source: camera frame -> map frame
    # Covariance of map_from_camera: x, y, z, then rotation about the map's fixed x, y, z axes.
    sigma = np.sqrt(result.covariance.diagonal())
    x, y, z = pose.translation
    qx, qy, qz, qw = pose.rotation.as_quat()
    print(f"position:    {x:.3f} {y:.3f} {z:.3f} {unit}")
    print(f"quaternion:  {qx:.5f} {qy:.5f} {qz:.5f} {qw:.5f} (x y z w)")
    print(f"position sigma: {sigma[0]:.3f} {sigma[1]:.3f} {sigma[2]:.3f} {unit}")
    print(f"rotation sigma: {np.degrees(sigma[3:]).round(3)} deg")
    print(f"{result.num_inliers} of {len(result.correspondences)} matches agree with the pose")
    print(f"map images used: {', '.join(result.references)}")
    print(f"time: {sum(result.stage_seconds.values()) * 1000:.0f} ms")


if __name__ == "__main__":
    raise SystemExit(main())
