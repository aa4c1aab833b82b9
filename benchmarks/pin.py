"""What the lift is worth: maps with fewer and with wrong points, and harder queries.

    ./run bench pin DATA [--work DIR] [--only SCENE ...] [--blocks BLOCK ...]
                    [--lifts LIFT ...] [--output tables.md]

DATA holds castle-P30, castle-P19, kitti-residential, fountain-P11 and entry-P10, each with images/
and a COLMAP text model of surveyed poses. Every query of every scene is in the tables. Maps and
results are kept in --work; what is there is not computed again (remove it after a change of code).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import Bench
from pin_depth import depth_errors
from pin_maps import LIFTS, Variant
from pin_queries import CONDITIONS
from pin_sift import SiftLocalizer
from pin_tables import Result, depth_table, pose_table, summary_table

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage, posed_images, write_posed_images
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.types import PoseEstimate, Query
from deviloc_ros.mapping.map import Map

SIFT = "SIFT"
SEED = 0
# To hide some points from a map that is to have them all.
HOLD_OUT = 0.8
POINTS = [Variant(share) for share in (1.0, 0.5, 0.1, 0.03)]
NOISE = [Variant(ray_noise=0.01), Variant(ray_noise=0.02)]
NOISE += [Variant(isotropic_noise=0.01), Variant(isotropic_noise=0.02)]
BLOCKS = ("points", "noise", "queries")
NO_POSE = (np.inf, np.inf)


@dataclass(frozen=True)
class Scene:
    """A map and queries with surveyed poses.

    Attributes:
        title: as in tables.
        images: folder of the map's images.
        query_images: folder of the queries.
        map_path: the map, of all points.
        queries: the queries with their true poses.
    """

    title: str
    images: Path
    query_images: Path
    map_path: Path
    queries: Sequence[PosedImage]


def castle(bench: Bench) -> Scene:
    """Return castle-P19 in a map of castle-P30."""
    folder, queries = bench.data / "castle-P30", bench.data / "castle-P19"
    bench.build("castle", folder / "images", "--model", folder, "--metric")
    return Scene(
        "castle", folder / "images", queries / "images", bench.work / "castle.devmap",
        posed_images(queries),
    )  # fmt: skip


def part_of(scene: str, title: str, is_map: Callable[[int], bool]) -> Callable[[Bench], Scene]:
    """Return a maker of a scene some images of which are the map and all others queries."""

    def made(bench: Bench) -> Scene:
        images = posed_images(bench.data / scene)
        name = title.replace(" ", "-")
        model, folder = bench.work / f"{name}-map", bench.data / scene / "images"
        write_posed_images(model, [image for i, image in enumerate(images) if is_map(i)])
        bench.build(name, folder, "--model", model, "--metric")
        queries = [image for i, image in enumerate(images) if not is_map(i)]
        return Scene(title, folder, folder, bench.work / f"{name}.devmap", queries)

    return made


SCENES: dict[str, Callable[[Bench], Scene]] = {
    "castle": castle,
    "kitti": part_of("kitti-residential", "kitti two thirds", lambda i: i % 3 != 0),
    "kitti-fifth": part_of("kitti-residential", "kitti every fifth", lambda i: i % 5 == 0),
    "fountain": part_of("fountain-P11", "fountain", lambda i: i % 3 != 0),
    "entry": part_of("entry-P10", "entry", lambda i: i % 3 != 0),
}


class Measurement:
    """Localizes the queries of a scene in variants of its map; keeps what came of them."""

    def __init__(
        self, scene: Scene, work: Path, config: LocalizerConfig, lifts: Sequence[str]
    ) -> None:
        """Measure these lifts with a configuration; results are kept in a folder."""
        self._lifts = lifts
        self._scene = scene
        self._work = work
        self._config = config
        self._whole = Map.load(scene.map_path)
        self._extractor = FeatureExtractor(config)
        self._described: dict[str, list[Query]] = {}
        self._sift = SiftLocalizer(scene.images, config)

    def block(self, block: str) -> Iterator[Result]:
        """Return the results of all methods for every variant of a block."""
        variants = {"points": POINTS, "noise": NOISE, "queries": [Variant()]}[block]
        conditions = list(CONDITIONS)[1:] if block == "queries" else list(CONDITIONS)[:1]
        for variant in variants:
            for condition in conditions:
                yield from self._compare(block, variant, condition)

    def _compare(self, block: str, variant: Variant, condition: str) -> Iterator[Result]:
        title = condition if block == "queries" else str(variant)
        references: list[Sequence[str]] = []
        for method in self._lifts:
            kept = self._kept(variant, condition, method)
            if not kept.exists():
                self._measure(variant, condition, method, kept)
            content = json.loads(kept.read_text(encoding="utf-8"))
            references = references or content["references"]
            yield self._result(block, title, method, content)
        kept = self._kept(variant, condition, SIFT)
        if not kept.exists():
            errors = self._localize_sift(variant, condition, references)
            _write(kept, {"errors": errors, "depth": ""})
        yield self._result(block, title, SIFT, json.loads(kept.read_text(encoding="utf-8")))

    def _measure(self, variant: Variant, condition: str, method: str, kept: Path) -> None:
        thinned = variant.apply(self._whole, SEED)
        lifted = LIFTS[method](thinned, self._config)
        depth = ""
        if condition == next(iter(CONDITIONS)):
            told = lifted
            if variant.share == 1.0:
                held_out = Variant(HOLD_OUT, variant.ray_noise, variant.isotropic_noise)
                told = LIFTS[method](held_out.apply(self._whole, SEED), self._config)
            depth = str(depth_errors(self._whole, told, self._config))
        localizer = Localizer(lifted, self._config)
        poses: list[Transform | None] = []
        references = []
        for query in self._queries(condition):
            result = localizer.localize_query(query)
            references.append(list(result.references))
            poses.append(result.camera_from_map if isinstance(result, PoseEstimate) else None)
        _write(kept, {"errors": self._errors(poses), "depth": depth, "references": references})

    def _localize_sift(
        self, variant: Variant, condition: str, references: Sequence[Sequence[str]]
    ) -> list[tuple[float, float]]:
        place = variant.apply(self._whole, SEED)
        poses = []
        for query, names in zip(self._queries(condition), references, strict=True):
            assert query.image is not None, "queries are made of images"
            poses.append(self._sift(place, query.image, query.camera, names))
        return self._errors(poses)

    def _errors(self, poses: Sequence[Transform | None]) -> list[tuple[float, float]]:
        """Return metres and degrees of every query; infinite without a pose."""
        true = [query.camera_from_map for query in self._scene.queries]
        return [
            NO_POSE if pose is None else pose.inverse().distance_to(truth.inverse())
            for pose, truth in zip(poses, true, strict=True)
        ]

    def _queries(self, condition: str) -> Sequence[Query]:
        """Return the queries with their features, which all variants of the map share."""
        if condition not in self._described:
            self._described[condition] = []
            for index, posed in enumerate(self._scene.queries):
                image = read_gray(self._scene.query_images / posed.name)
                seen = CONDITIONS[condition](image, np.random.default_rng([SEED, index]))
                (features,) = self._extractor.extract([seen])
                self._described[condition].append(Query(features, posed.camera, seen))
        return self._described[condition]

    def _kept(self, variant: Variant, condition: str, method: str) -> Path:
        parts = (self._scene.title, variant, condition, method, self._config, self._whole.source)
        return self._work / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:20]}.json"

    def _result(self, block: str, title: str, method: str, content: Mapping[str, Any]) -> Result:
        errors = np.array(content["errors"], dtype=np.float64).reshape(-1, 2)
        return Result(block, self._scene.title, title, method, errors, str(content["depth"]))


def _write(path: Path, content: dict[str, object]) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def tables(results: Sequence[Result]) -> str:
    """Return everything as Markdown."""
    parts = ["## Summary\n\n" + summary_table(results, "geometric")]
    for block in dict.fromkeys(result.block for result in results):
        own = [result for result in results if result.block == block]
        parts.append(f"## Poses: {block}\n\n{pose_table(own)}")
        if any(result.depth for result in own):
            parts.append(f"## Depths at hidden observations: {block}\n\n{depth_table(own)}")
    return "\n".join(parts)


def main() -> int:
    """Measure what was asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder with one folder a scene")
    parser.add_argument("--work", type=Path, help="folder for maps and results, kept")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--blocks", nargs="+", choices=BLOCKS, default=list(BLOCKS))
    parser.add_argument("--lifts", nargs="+", choices=LIFTS, default=list(LIFTS))
    parser.add_argument("--output", type=Path, help="write the tables to a file too")
    args = parser.parse_args()
    work = args.work or Path(tempfile.mkdtemp(prefix="deviloc-pin-"))
    work.mkdir(parents=True, exist_ok=True)
    bench, config = Bench(args.data, work, []), LocalizerConfig()
    results: list[Result] = []
    for name in args.only:
        measurement = Measurement(SCENES[name](bench), work, config, args.lifts)
        for block in args.blocks:
            results += measurement.block(block)
    text = tables(sorted(results, key=lambda result: BLOCKS.index(result.block)))
    print(text, end="")
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
