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
        points_only: only maps of fewer points are measured: its images are also another scene's.
    """

    title: str
    images: Path
    query_images: Path
    map_path: Path
    queries: Sequence[PosedImage]
    metric: bool = True
    depth_images: Path | None = None
    points_only: bool = False


def castle(bench: Bench) -> Scene:
    """Return castle-P19 in a map of castle-P30."""
    folder, queries = bench.data / "castle-P30", bench.data / "castle-P19"
    bench.build("castle", folder / "images", "--model", folder, "--metric")
    return Scene(
        "castle", folder / "images", queries / "images", bench.work / "castle.devmap",
        posed_images(queries),
    )  # fmt: skip


def part_of(
    scene: str,
    title: str,
    is_map: Callable[[int], bool],
    is_query: Callable[[int], bool],
    metric: bool = True,
    points_only: bool = False,
) -> Callable[[Bench], Scene]:
    """Return a maker of a scene some images of which are the map and others queries."""

    def made(bench: Bench) -> Scene:
        images = posed_images(bench.data / scene)
        name = title.replace(" ", "-")
        model, folder = bench.work / f"{name}-map", bench.data / scene / "images"
        write_posed_images(model, [image for i, image in enumerate(images) if is_map(i)])
        bench.build(name, folder, "--model", model, *(["--metric"] if metric else []))
        queries = [image for i, image in enumerate(images) if is_query(i)]
        depth = bench.data / scene / "depth"
        return Scene(
            title, folder, folder, bench.work / f"{name}.devmap", queries, metric,
            depth if depth.is_dir() else None, points_only,
        )  # fmt: skip

    return made


def every(step: int, first: int = 0) -> Callable[[int], bool]:
    """Return which indices are every so manieth."""
    return lambda index: index % step == first


def others(step: int) -> Callable[[int], bool]:
    """Return which indices `every` leaves out."""
    return lambda index: index % step != 0


def castle_of_few(bench: Bench) -> Scene:
    """Return castle-P19 in a map of every fifth image of castle-P30."""
    folder, queries = bench.data / "castle-P30", bench.data / "castle-P19"
    model = bench.work / "castle-few-map"
    write_posed_images(model, posed_images(folder)[::5])
    bench.build("castle-few", folder / "images", "--model", model, "--metric")
    return Scene(
        "castle, 6 images", folder / "images", queries / "images",
        bench.work / "castle-few.devmap", posed_images(queries), points_only=True,
    )  # fmt: skip


SCENES: dict[str, Callable[[Bench], Scene]] = {
    "castle": castle,
    "kitti-fifth": part_of("kitti-residential", "kitti every fifth", every(5), others(5)),
    "fountain": part_of("fountain-P11", "fountain", others(3), every(3)),
    "entry": part_of("entry-P10", "entry", others(3), every(3)),
    "fox": part_of("fox", "fox", others(3), every(3), metric=False),
    # A map of every third frame, queries half-way between them.
    "tum": part_of("tum-fr1-rpy", "tum desk", every(3), every(3, 1)),
    "kitti": part_of(
        "kitti-residential", "kitti two thirds", others(3), every(3), points_only=True
    ),
}

# Maps of so few images that views have little in common: measured when asked for by name.
OF_FEW: dict[str, Callable[[Bench], Scene]] = {
    "castle-few": castle_of_few,
    "kitti-few": part_of(
        "kitti-residential", "kitti, 6 images", every(10), others(10), points_only=True
    ),
    "fountain-few": part_of(
        "fountain-P11", "fountain, 3 images", every(5), others(5), points_only=True
    ),
    "entry-few": part_of("entry-P10", "entry, 3 images", every(4), others(4), points_only=True),
    "fox-few": part_of(
        "fox", "fox, 7 images", every(8), every(8, 4), metric=False, points_only=True
    ),
}
