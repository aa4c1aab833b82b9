"""Does it matter whose points the map has? The paper's robustness table in our own terms.

    ./run bench point_sources DATA --work WORK [--sources NAME ...] [--output table.md]

DeViLoc lifts every match with the Point Inference Network, so that a map made for other features
serves as well (CVPR 2024, section 4.4). Here two places get maps of the same images and poses whose
points come from SIFT, from half of these, from ALIKED (LightGlue) and from XFeat (LighterGlue):
castle-P30 of DATA, and the simulated street by day. Queries are castle-P19 as it is and by night
with lamps, and the street's second drive by day and in the evening. `depths from one view` has each
feature lifted by its own image alone, as the paper does (lifting.neighbours = 0); `from all views`
is the default. What is in WORK is not done again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from accuracy import Bench
from lifting.tables import Result
from peer_ways.hardships import lamps
from peer_ways.hloc_way import triangulated
from peer_ways.sparse import SPARSE
from shared.second_pass import render_second_pass

from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import posed_images, write_posed_images
from deviloc_ros.demo.passes import Scene, photograph_first_pass
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import PoseEstimate
from deviloc_ros.mapping.sfm.pairs import choose_posed_pairs
from deviloc_ros.maps.map import Map
from deviloc_ros.schema import load
from deviloc_ros.simulation.light import DAY, EVENING

# The features that points are made of.
SOURCES = {
    "half of SIFT": "sift",
    "SIFT": "sift",
    "ALIKED": "aliked-lightglue",
    "XFeat": "xfeat-lighterglue",
}
LIFTS = {"one view": ("lifting.neighbours=0",), "all views": ()}
SEED = 0


@dataclass(frozen=True)
class Place:
    """Where maps are made, and what is looked for in them.

    Attributes:
        name: as in the table.
        images: folder of the map's images.
        model: COLMAP model with their poses.
        queries: by title: folders of images and of a model with true poses.
    """

    name: str
    images: Path
    model: Path
    queries: dict[str, tuple[Path, Path]]


def castle(data: Path, work: Path) -> Place:
    """Return castle-P30 and castle-P19, which is also written by night."""
    queries = data / "castle-P19"
    night = work / "castle-night"
    night.mkdir(parents=True, exist_ok=True)
    for number, posed in enumerate(posed_images(queries)):
        if not (night / posed.name).exists():
            image = read_gray(queries / "images" / posed.name)
            with atomic_path(night / posed.name) as path:
                cv2.imwrite(str(path), lamps(image, np.random.default_rng(number)))
    by_light = {"day": (queries / "images", queries), "lamps": (night, queries)}
    return Place("castle", data / "castle-P30" / "images", data / "castle-P30", by_light)


def street(_: Path, work: Path) -> Place:
    """Return a simulated street and its second drive in two lights."""
    scene = replace(Scene(), length=30.0, queries=20)
    folder = work / "street"
    if not (folder / "model" / "images.txt").exists():
        photograph_first_pass(scene, folder)
    queries = {}
    for title, light in (("day", DAY), ("evening", EVENING)):
        render_second_pass(scene, light, work / f"street-{title}")
        queries[title] = (work / f"street-{title}" / "images", work / f"street-{title}" / "model")
    return Place("street", folder / "images", folder / "model", queries)


def model_of(place: Place, source: str, bench: Bench) -> Path:
    """Return a model of a place with points of one source; pairs are ours for all."""
    folder = bench.work / f"{place.name}-{source.replace(' ', '-')}"
    if (folder / "points3D.bin").exists():
        return folder
    posed = list(posed_images(place.model))
    bare = bench.work / f"{place.name}-poses"
    write_posed_images(bare, posed)
    bench.build(f"{place.name}-pairs", place.images, "--model", bare, "--metric")
    described = Map.load(bench.work / f"{place.name}-pairs.devmap")
    import torch

    vectors = torch.from_numpy(np.array(described.global_descriptors)).float()
    names = [reference.name for reference in described.references]
    by_name = {each.name: each for each in posed}
    pairs = choose_posed_pairs(dict(zip(names, vectors, strict=True)), by_name)
    sparse = SPARSE[SOURCES[source]]()
    model, _ = triangulated(sparse, place.images, posed, pairs, folder.with_suffix(".colmap"))
    if source.startswith("half"):
        _halve(model)
    folder.mkdir(parents=True, exist_ok=True)
    model.write_binary(folder)
    return folder


def _halve(model: pycolmap.Reconstruction) -> None:
    ids = sorted(model.points3D)
    for number in np.random.default_rng(SEED).permutation(len(ids))[: len(ids) // 2]:
        model.delete_point3D(ids[number])


def measure(place: Place, source: str, lift: str, bench: Bench) -> list[Result]:
    """Return the errors of a place's queries in a map of one source's points."""
    name = f"{place.name}-{source}-{lift}".replace(" ", "-")
    settings = [part for setting in LIFTS[lift] for part in ("--set", setting)]
    model = model_of(place, source, bench)
    bench.build(name, place.images, "--model", model, "--metric", *settings)
    localizer = Localizer(Map.load(bench.work / f"{name}.devmap"), load(LocalizerConfig, None, ()))
    results = []
    for light, (images, truth) in place.queries.items():
        errors = []
        for posed in posed_images(truth):
            found = localizer.localize(read_gray(images / posed.name), posed.camera)
            errors.append(
                found.map_from_camera.distance_to(posed.camera_from_map.inverse())
                if isinstance(found, PoseEstimate)
                else (np.inf, np.inf)
            )
        results.append(Result(source, f"{place.name}, {light}", lift, "", np.array(errors)))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the maps, localize, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--output", type=Path, help="write the table to a file too")
    args = parser.parse_args(arguments)
    args.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(args.data, args.work, [])
    places = [castle(args.data, args.work), street(args.data, args.work)]
    titles = [f"{place.name}, {light}" for place in places for light in place.queries]
    lines = [
        f"| points | depths from | {' | '.join(titles)} |",
        "|---" * (2 + len(titles)) + "|",
    ]
    for lift in LIFTS:
        for source in args.sources:
            found = [result for place in places for result in measure(place, source, lift, bench)]
            cells = " | ".join(result.cell() for result in found)
            lines.append(f"| {source} | {lift} | {cells} |")
            print(lines[-1], file=sys.stderr)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if args.output is not None:
        with atomic_path(args.output) as path:
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
