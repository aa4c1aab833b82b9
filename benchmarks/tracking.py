"""What few references cost when the pose is nearly known, as in the node's tracking mode.

    ./run bench tracking MAP --images DIR --model DIR [--set KEY=VALUE]

Every image of the model that is not in the map is localized with a prior 0.3 m and 2 degrees off,
with 5 references down to 2. Printed for each number: error, the sigma that the covariance claims,
and the CPU time of a query.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer, PoseEstimate, PosePrior

OFF = 0.3, np.radians(2.0)
SIGMAS = 0.5, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("map", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="COLMAP model: the true poses")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--all", action="store_true", help="images named as the map's are others")
    args = parser.parse_args()
    localizer = Localizer.load(args.map, load(LocalizerConfig, None, args.set))
    mapped = set() if args.all else {reference.name for reference in localizer.map.references}
    queries = [image for image in posed_images(args.model) if image.name not in mapped]
    print("| references | localized | median | mean | 90 % | rotation | sigma | CPU time |")
    print("|---|---|---|---|---|---|---|---|")
    for count in (5, 4, 3, 2):
        rng = np.random.default_rng(0)
        metres, degrees, sigmas = [], [], []
        begin = time.process_time()
        for query in queries:
            truth = query.camera_from_map.inverse()
            turn = Rotation.from_rotvec(rng.normal(0, OFF[1], 3) / np.sqrt(3))
            shift = rng.normal(0, OFF[0], 3) / np.sqrt(3)
            expected = Transform(turn * truth.rotation, truth.translation + shift)
            prior = PosePrior(expected, *SIGMAS, num_references=count)
            image = read_gray(args.images / query.name)
            result = localizer.localize(image, query.camera, prior)
            if isinstance(result, PoseEstimate):
                error = result.map_from_camera.distance_to(truth)
                metres.append(error[0])
                degrees.append(error[1])
                sigmas.append(np.sqrt(np.trace(result.covariance[:3, :3]) / 3))
        seconds = (time.process_time() - begin) / len(queries)
        figures = [np.median(metres), np.mean(metres), np.quantile(metres, 0.9)]
        print(
            f"| {count} | {len(metres)} of {len(queries)} | "
            + " | ".join(f"{1000 * value:.1f} mm" for value in figures)
            + f" | {np.median(degrees):.4f} deg | {1000 * np.median(sigmas):.1f} mm"
            f" | {seconds:.2f} s |"
        )


if __name__ == "__main__":
    main()
