"""Why SIFT is more accurate where it is: matches and their errors in the image, exchanged.

    ./run bench pin_precision DATA [--work DIR] [--only SCENE ...]

Matches are those of the localizer and of SIFT (pin_sift.py) on the same map. A match's error is
its keypoint minus where the true pose projects its point. Errors are shuffled among the matches of
a query, which keeps their size and takes away what neighbours have in common, or are drawn from
those of the other method. Queries are also reduced for SIFT, and left whole for the localizer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from accuracy import Bench
from lifting.queries import CONDITIONS, PLAIN
from lifting.scenes import SCENES, Scene
from lifting.sift import SiftLocalizer
from numpy.typing import NDArray

from deviloc_ros.config import AlignmentConfig, LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.backend import backend_of
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.types import Correspondences, PoseEstimate, Query
from deviloc_ros.maps.map import Map

SEED = 0
# Matches in one square of an image are neighbours, pixels; halves of a square have so many.
NEAR, MIN_HALF = 128, 8
# Of a query: matches that agree with the pose, their median error and what neighbours have in
# common of it (pixels), the pose's error (metres, degrees).
Measures = tuple[int, float, float, float, float]


class Exchange:
    """Matches a scene's queries in every way that the table has."""

    def __init__(self, scene: Scene, config: LocalizerConfig) -> None:
        """Load the map."""
        self._scene = scene
        self._size = config.features.max_size
        self._map = Map.load(scene.map_path)
        self._localizer = Localizer(self._map, config)
        self._sift = SiftLocalizer(scene.images, config)
        whole = config.features.model_copy(update={"max_size": 1 << 14})
        self._reduced = backend_of(config).extractor()
        self._whole = backend_of(config.model_copy(update={"features": whole})).extractor()

    def rows(self, condition: str) -> dict[str, list[Measures]]:
        """Return for each way what came of every query."""
        rows: dict[str, list[Measures]] = {}
        for index, posed in enumerate(self._scene.queries):
            image = read_gray(self._scene.query_images / posed.name)
            generator = np.random.default_rng([SEED, index])
            seen = CONDITIONS[condition](image, generator)
            for way, matches in self._ways(seen, posed, generator).items():
                rows.setdefault(way, []).append(self._measured(matches, posed, generator))
        return rows

    def _ways(
        self, seen: NDArray[np.uint8], posed: PosedImage, generator: np.random.Generator
    ) -> dict[str, Correspondences]:
        first = self._localized(self._reduced, seen, posed)
        whole = self._localized(self._whole, seen, posed)
        names = list(first.references)
        ours = first.correspondences
        theirs = self._sift.matches(self._map, seen, names)
        exact = [self._agreeing(matches, posed) for matches in (ours, theirs)]
        errors = [matches.keypoints - projected(matches, posed) for matches in exact]
        return {
            "ours": ours,
            "ours, query not reduced": whole.correspondences,
            "ours, errors shuffled": spoilt(exact[0], errors[0], posed, generator),
            "ours, errors of SIFT's": spoilt(exact[0], errors[1], posed, generator),
            "SIFT": theirs,
            "SIFT, query reduced": self._sift.matches(self._map, seen, names, self._size),
            "SIFT, errors shuffled": spoilt(exact[1], errors[1], posed, generator),
            "SIFT, errors of ours": spoilt(exact[1], errors[0], posed, generator),
        }

    def _localized(
        self, extractor: FeatureExtractor, seen: NDArray[np.uint8], posed: PosedImage
    ) -> PoseEstimate:
        (features,) = extractor.extract([seen])
        result = self._localizer.localize_query(Query(features, posed.camera, seen))
        if not isinstance(result, PoseEstimate):
            raise SystemExit(f"{posed.name}: {result}; without a pose there is nothing to compare")
        return result

    def _agreeing(self, matches: Correspondences, posed: PosedImage) -> Correspondences:
        """Return the matches that agree with the pose estimated from them."""
        pose = self._sift.estimate(matches, posed.camera)
        return matches if pose is None else matches.select(pose.inliers)

    def _measured(
        self, matches: Correspondences, posed: PosedImage, generator: np.random.Generator
    ) -> Measures:
        pose = self._sift.estimate(matches, posed.camera)
        if pose is None:
            return 0, np.nan, np.nan, np.inf, np.inf
        true = posed.camera_from_map
        kept = matches.select(pose.inliers)
        error = kept.keypoints - projected(kept, posed)
        return (
            pose.num_inliers,
            float(np.median(np.linalg.norm(error, axis=1))),
            in_common(kept.keypoints, error, generator),
            *pose.camera_from_map.inverse().distance_to(true.inverse()),
        )


def projected(matches: Correspondences, posed: PosedImage) -> NDArray[np.float64]:
    """Return where the true pose projects the points (N, 2)."""
    return np.asarray(posed.camera.project(posed.camera_from_map.apply(matches.points3d)))


def spoilt(
    matches: Correspondences,
    errors: NDArray[np.float64],
    posed: PosedImage,
    generator: np.random.Generator,
) -> Correspondences:
    """Return matches whose keypoints are right but for errors drawn from these (M, 2)."""
    drawn = generator.permutation(len(errors))[: len(matches)]
    if len(drawn) < len(matches):
        drawn = generator.integers(0, len(errors), len(matches))
    return replace(matches, keypoints=projected(matches, posed) + errors[drawn])


def in_common(
    keypoints: NDArray[np.float64], errors: NDArray[np.float64], generator: np.random.Generator
) -> float:
    """Return the error (root mean square) that matches within NEAR pixels have in common.

    Each square is cut into two random halves: the product of their means knows nothing of errors
    that are each match's own.
    """
    square = np.floor(keypoints / NEAR).astype(np.int64) @ np.array([1, 1 << 16])
    half = generator.integers(0, 2, len(errors))
    products = []
    for name in np.unique(square):
        halves = [errors[(square == name) & (half == side)] for side in (0, 1)]
        if min(map(len, halves)) >= MIN_HALF:
            products.append(float(halves[0].mean(axis=0) @ halves[1].mean(axis=0)))
    return float(np.sqrt(max(0.0, float(np.mean(products))))) if products else np.nan


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with one folder a scene")
    parser.add_argument("--work", type=Path, help="folder for maps, kept")
    parser.add_argument(
        "--only", nargs="+", choices=SCENES, default=["castle", "entry", "fountain"]
    )
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="deviloc-pin-"))
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.data, work, [])
    print("| queries | matches | agreeing | error | in common | position, m | rotation, deg |")
    print("|---" * 7 + "|")
    for name in args.only:
        config = LocalizerConfig(alignment=AlignmentConfig(enabled=False))
        exchange = Exchange(SCENES[name](bench), config)
        for condition in (PLAIN, "occluded"):
            for way, measures in exchange.rows(condition).items():
                count, error, common, metres, degrees = np.median(measures, axis=0)
                cells = f"{count:.0f} | {error:.2f} px | {common:.2f} px"
                print(f"| {name}, {condition} | {way} | {cells} | {metres:.4f} | {degrees:.4f} |")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
