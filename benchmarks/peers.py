"""Peers on the same images, with the same truth, on the same machine: one process each.

    ./run bench peers DATA --work DIR [--scenes castle fountain ...] [--hardships clean dark ...]
                      [--maps full 10% 3% noisy] [--ways fast sift ...] [--queries N]
                      [--output table.md] [--plot plot.png]

DATA holds one folder a scene (images/ and a COLMAP text model). Results are saved query by query in
DIR: the same command goes on where it stopped, and the table is of everything that is there.

Ways: `fast` and `auto` are ours, without and with context in doubt. `sift` is SIFT with the ratio
test; `aliked-lightglue`, `disk-lightglue` and `xfeat-lighterglue` have the published weights. These
four localize as hloc does (peer_ways/hloc_way.py), in maps of their own features. All ways get
the same gray images and the same references, which our own retrieval chooses; its time does not
count for peers. CPU-seconds include the query's features.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import Bench
from lifting.lifts import AGREE, Lifter, SharedMatches
from lifting.maps import Variant
from lifting.scenes import SCENES, Scene
from numpy.typing import NDArray
from peer_ways.hardships import HARDSHIPS
from peer_ways.hloc_way import SparseMap, build, localize
from peer_ways.plots import draw
from peer_ways.sparse import SPARSE
from peer_ways.summary import table
from shared.process_memory import peak_bytes, reset_peak

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.mapping.sfm.pairs import choose_posed_pairs
from deviloc_ros.maps.map import Map

SEED = 0
MAPS = {
    "full": Variant(),
    "10%": Variant(0.1),
    "3%": Variant(0.03),
    "noisy": Variant(ray_noise=0.02),
}
OURS = {"fast": "never", "auto": "auto"}
Localize = Callable[[NDArray[np.uint8], Camera, Sequence[str]], Transform | None]


@dataclass(frozen=True)
class Prepared:
    """A way that is ready for queries.

    Attributes:
        localize: a gray image, its camera and references to a pose, or None.
        map_bytes: of its map.
        build_seconds: CPU-seconds that building it took; None: it was there before.
    """

    localize: Localize
    map_bytes: int
    build_seconds: float | None


class Contest:
    """One scene for one way."""

    def __init__(self, bench: Bench, name: str, way: str) -> None:
        """Build our map of the scene unless it is there; every way takes references from it."""
        maps, before = set(bench.work.glob("*.devmap")), _children_seconds()
        self._scene: Scene = SCENES[name](bench)
        cost = bench.work / f"{name}.seconds"
        if self._scene.map_path not in maps:
            cost.write_text(str(_children_seconds() - before), encoding="utf-8")
        # A map that somebody put there cost nobody knows what.
        self._cost = float(cost.read_text(encoding="utf-8")) if cost.exists() else None
        self._name, self._way, self._work = name, way, bench.work
        self._whole = Map.load(self._scene.map_path)
        self._retrieval = Localizer(self._whole, _config("never"))

    def run(self, maps: Sequence[str], hardships: Sequence[str], count: int | None) -> None:
        """Localize queries that are not in the results yet; write each as it is done."""
        path = self._work / f"{self._name}--{self._way}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        done = {_key(json.loads(line)) for line in lines}
        queries = list(self._scene.queries)
        if count is not None and count < len(queries):
            queries = [queries[i] for i in np.linspace(0, len(queries) - 1, count).astype(int)]
        for variant in maps:
            wanted = [
                (hardship, query)
                for hardship in hardships
                for query in queries
                if (variant, hardship, query.name) not in done
            ]
            if not wanted:
                continue
            prepared = self._prepare(variant)
            self._measure(prepared, "clean", queries[0])  # what first use compiles costs no query
            for hardship, query in wanted:
                record = {"variant": variant, **self._measure(prepared, hardship, query)}
                with path.open("a", encoding="utf-8") as results:
                    results.write(json.dumps(record) + "\n")
                print(self._way, variant, hardship, query.name, record["error"], flush=True)

    def _measure(self, prepared: Prepared, hardship: str, query: PosedImage) -> dict[str, Any]:
        image = read_gray(self._scene.query_images / query.name)
        seed = sum(query.name.encode())
        image = HARDSHIPS[hardship](image, np.random.default_rng([SEED, seed]))
        names: Sequence[str] = ()
        if self._way in SPARSE:
            names = self._retrieval.localize(image, query.camera).references
        reset_peak()
        start = time.process_time()
        pose = prepared.localize(image, query.camera, names)
        seconds = time.process_time() - start
        error = None
        if pose is not None:
            error = pose.inverse().distance_to(query.camera_from_map.inverse())
        return {
            "scene": self._name, "hardship": hardship, "way": self._way, "query": query.name,
            "error": error, "cpu_seconds": seconds, "peak_bytes": peak_bytes(),
            "map_bytes": prepared.map_bytes, "build_seconds": prepared.build_seconds,
            "images": len(self._whole.references),
        }  # fmt: skip

    def _prepare(self, variant: str) -> Prepared:
        return self._peer(variant) if self._way in SPARSE else self._own(variant)

    def _own(self, variant: str) -> Prepared:
        config, place = _config(OURS[self._way]), self._whole
        if variant != "full":
            place = MAPS[variant].apply(place, SEED)
            place = Lifter(place, config, SharedMatches(place, config))(f"geometric, {AGREE}")
        localizer = Localizer(place, config)

        def run(image: NDArray[np.uint8], camera: Camera, _: Sequence[str]) -> Transform | None:
            result = localizer.localize(image, camera)
            return result.camera_from_map if isinstance(result, PoseEstimate) else None

        return Prepared(run, self._scene.map_path.stat().st_size, self._cost)

    def _peer(self, variant: str) -> Prepared:
        sparse = SPARSE[self._way]()
        kept = self._work / f"{self._name}--{self._way}.npz"
        if not kept.exists():
            start = time.process_time()
            place = build(sparse, self._scene.images, *self._given(), kept.with_suffix(".colmap"))
            seconds = time.process_time() - start
            place.save(kept, seconds)
        place, seconds = SparseMap.load(kept)
        changed = place.changed(MAPS[variant], SEED)

        def run(image: NDArray[np.uint8], camera: Camera, names: Sequence[str]) -> Transform | None:
            return localize(sparse, changed, image, camera, names)

        return Prepared(run, place.num_bytes, seconds)

    def _given(self) -> tuple[Sequence[PosedImage], Sequence[tuple[str, str]]]:
        """Return the map's images with their poses, and the pairs that map building matches."""
        import torch

        posed = [PosedImage(r.name, r.camera, r.camera_from_map) for r in self._whole.references]
        described = torch.from_numpy(np.array(self._whole.global_descriptors)).float()
        by_name = {each.name: each for each in posed}
        return posed, choose_posed_pairs(dict(zip(by_name, described, strict=True)), by_name)


def _config(context: str) -> LocalizerConfig:
    config = LocalizerConfig()
    matching = config.matching.model_copy(update={"context": context})
    return config.model_copy(update={"matching": matching})


def _key(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["variant"], record["hardship"], record["query"]


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Run what is asked for and print the table; return 1 if a way could not run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for maps and results")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--hardships", nargs="+", choices=HARDSHIPS, default=list(HARDSHIPS))
    parser.add_argument("--maps", nargs="+", choices=MAPS, default=list(MAPS))
    ways = [*OURS, *SPARSE]
    parser.add_argument("--ways", nargs="+", choices=ways, default=ways)
    parser.add_argument("--queries", type=int, metavar="N", help="of each scene, evenly chosen")
    parser.add_argument("--output", type=Path, help="write the table to a file too")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw errors and costs")
    parser.add_argument("--one", nargs=2, metavar=("SCENE", "WAY"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.one:
        bench = Bench(args.data, args.work, [])
        Contest(bench, *args.one).run(args.maps, args.hardships, args.queries)
        return 0
    failed = []
    for scene in args.scenes:
        for way in args.ways:
            command = [
                sys.executable,
                os.path.abspath(__file__),
                *sys.argv[1:],
                "--one",
                scene,
                way,
            ]
            if subprocess.run(command, check=False).returncode:
                failed.append(f"{scene}, {way}")
    lines = [
        json.loads(line)
        for path in sorted(args.work.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    text = table(lines)
    print(text, end="")
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
    if args.plot is not None:
        draw(lines, args.plot)
    for name in failed:
        print(f"left out: {name}: its process failed, see above", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
