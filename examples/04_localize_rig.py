#!/usr/bin/env python3
"""Localize a robot by several cameras at one instant: one pose of its base from all images.

The cameras need not overlap, and one that sees nothing known does no harm. rig.yaml names them:

  cameras:
    left:
      topic: /left/image_raw                # for bags; not used here
      camera: "PINHOLE 640 480 500 500 320 240"
      extrinsics:                           # base_from_camera; the camera has z forward, x right
        translation: [0.1, 0.2, 1.0]        # metres
        rotation: [-0.5, 0.5, -0.5, 0.5]    # unit quaternion x y z w

  python examples/04_localize_rig.py place.devmap rig.yaml left=left.png right=right.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from deviloc_ros import InputError, LocalizationFailure, Localizer, read_gray
from deviloc_ros.offline.rig_file import read_rig
from deviloc_ros.robot.config import RobotConfig


def main() -> int:
    """Return the exit code: 0 with a pose, 3 without."""
    parser = argparse.ArgumentParser(description="Localize a rig of cameras at one instant.")
    parser.add_argument("map", type=Path, help="a map of 'deviloc map build' or example 02")
    parser.add_argument("rig", type=Path, help="rig.yaml: cameras with camera and extrinsics")
    parser.add_argument("images", nargs="+", metavar="NAME=IMAGE", help="one per camera")
    args = parser.parse_args()

    try:
        cameras = read_rig(args.rig, RobotConfig).cameras
        files = dict(text.partition("=")[::2] for text in args.images)
        lenses, mounts = [], []
        for name in files:
            if name not in cameras:
                parser.error(f"{name}: {args.rig} has no such camera, but {', '.join(cameras)}")
            lens, mount = cameras[name].camera, cameras[name].mount  # mount: base_from_camera
            if lens is None or mount is None:
                parser.error(f"{args.rig}: cameras.{name}: give camera and extrinsics")
            lenses.append(lens)
            mounts.append(mount)
        images = [read_gray(path) for path in files.values()]
        localizer = Localizer.load(args.map)
        localizer.warm_up(len(images))
    except InputError as error:
        parser.error(str(error))

    result = localizer.localize_rig(images, lenses, mounts)
    if isinstance(result, LocalizationFailure):
        print(f"no pose: {result.reason.name}: {result.details}")
        return 3
    x, y, z = result.map_from_base.translation
    qx, qy, qz, qw = result.map_from_base.rotation.as_quat()
    sigma = np.sqrt(result.covariance.diagonal())
    print(f"base in map: {x:.3f} {y:.3f} {z:.3f}, {qx:.5f} {qy:.5f} {qz:.5f} {qw:.5f} (x y z w)")
    print(f"position sigma: {sigma[:3].round(3)}")
    print(f"rotation sigma: {np.degrees(sigma[3:]).round(3)} deg")
    for name, view in zip(files, result.views, strict=True):
        print(f"{name}: {view.num_inliers} of {len(view.correspondences)} matches agree")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
