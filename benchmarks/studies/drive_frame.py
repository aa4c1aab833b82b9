"""How well the map of a drive lies in its frame, by odometry with drift and noisy satellite fixes.

    ./run bench drive_frame [--images N ...] [--fixes N ...] [--points N ...] [--seeds N]

The drive is synthetic (shared/drive_model.py): an image every 1.6 m of a curved road, odometry that
counts 1 % too much and turns by 2 mrad a step, fixes with independent noise of 2 m on each axis.
Printed for each: the error of camera positions against the truth on the earth (absolute), the same
after a rigid fit (shape and scale), that of odometry after a rigid fit, and CPU time. What the
fixes leave open is noise: several seeds are drawn, and the root mean square over them is printed.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
from numpy.typing import NDArray
from shared.drive_model import errors, shift_of, simulate

from deviloc_ros.geometry.similarity_fit import fit_positions
from deviloc_ros.mapping.drive.frame import bring_into_frame


def measure(images: int, fixes: int, points: int, seed: int) -> tuple[float, float, float, float]:
    """Return absolute error, rigid error and drift of odometry, metres rms, and CPU-seconds."""
    drive = simulate(images, fixes, seed, points)
    start = time.process_time()
    frame = bring_into_frame(drive.model, drive.odometry, drive.fixes)
    spent = time.process_time() - start
    if frame.origin is None:
        raise SystemExit(f"{images} images, {fixes} fixes each: {frame.note}")
    off = errors(drive, shift_of(frame.origin))
    truth = np.array([pose.inverse().translation for pose in drive.truth.values()])
    rigid = fit_positions(truth + off, truth, fixed_scale=True).residuals
    return rms(np.linalg.norm(off, axis=1)), rms(rigid), rms(frame.drift), spent


def rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(values**2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, nargs="+", default=[150])
    parser.add_argument("--fixes", type=int, nargs="+", default=[1, 5], help="for each image")
    parser.add_argument(
        "--points", type=int, nargs="+", default=[12], help="that come into view with each image"
    )
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    print("| images | fixes an image | points | absolute | after a rigid fit | odometry | CPU |")
    print("|---|---|---|---|---|---|---|")
    for images, fixes, points in itertools.product(args.images, args.fixes, args.points):
        table = np.array([measure(images, fixes, points, seed) for seed in range(args.seeds)])
        absolute, rigid, drift, spent = (rms(column) for column in table.T)
        print(
            f"| {images} | {fixes} | {points} | {absolute:.3f} m | {rigid:.3f} m | {drift:.2f} m | "
            f"{spent:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main()
