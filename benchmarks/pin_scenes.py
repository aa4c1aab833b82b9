"""Real scenes with true poses, each as a map and queries that are not in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accuracy import Bench

from deviloc_ros.datasets.colmap import PosedImage, posed_images, write_posed_images


@dataclass(frozen=True)
class Scene:
    """A map and queries with true poses.

    Attributes:
        title: as in tables.
        images: folder of the map's images.
        query_images: folder of the queries.
        map_path: the map, of all points.
        queries: the queries with their true poses.
        metric: whether poses are in metres.
        depth_images: folder with what a depth sensor saw of the map's images, if there was one.
    """

    title: str
    images: Path
    query_images: Path
    map_path: Path
    queries: Sequence[PosedImage]
    metric: bool = True
    depth_images: Path | None = None


def castle(bench: Bench) -> Scene:
    """Return castle-P19 in a map of castle-P30."""
    folder, queries = bench.data / "castle-P30", bench.data / "castle-P19"
    bench.build("castle", folder / "images", "--model", folder, "--metric")
    return Scene(
        "castle", folder / "images", queries / "images", bench.work / "castle.devmap",
        posed_images(queries),
    )  # fmt: skip


def part_of(
    scene: str, title: str, is_map: Callable[[int], bool], metric: bool = True
) -> Callable[[Bench], Scene]:
    """Return a maker of a scene some images of which are the map and all others queries."""

    def made(bench: Bench) -> Scene:
        images = posed_images(bench.data / scene)
        name = title.replace(" ", "-")
        model, folder = bench.work / f"{name}-map", bench.data / scene / "images"
        write_posed_images(model, [image for i, image in enumerate(images) if is_map(i)])
        bench.build(name, folder, "--model", model, *(["--metric"] if metric else []))
        queries = [image for i, image in enumerate(images) if not is_map(i)]
        depth = bench.data / scene / "depth"
        return Scene(
            title, folder, folder, bench.work / f"{name}.devmap", queries, metric,
            depth if depth.is_dir() else None,
        )  # fmt: skip

    return made


def _two_thirds(index: int) -> bool:
    return index % 3 != 0


SCENES: dict[str, Callable[[Bench], Scene]] = {
    "castle": castle,
    "kitti-fifth": part_of("kitti-residential", "kitti every fifth", lambda i: i % 5 == 0),
    "fountain": part_of("fountain-P11", "fountain", _two_thirds),
    "entry": part_of("entry-P10", "entry", _two_thirds),
    "kitti": part_of("kitti-residential", "kitti two thirds", _two_thirds),
    "fox": part_of("fox", "fox", _two_thirds, metric=False),
    "tum": part_of("tum-fr1-rpy", "tum desk", _two_thirds),
}
