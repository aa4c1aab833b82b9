"""Maps that change, on a real scene: extended, merged and thinned maps against one made at once.

    ./run bench living SCENE --work DIR [--only ROW ...] [--set KEY=VALUE]

SCENE holds images/ and a metric COLMAP model of true poses (itself, or model/), of images in the
order of the drive. Every third image is a query. The others make a map at once (`all`), and in
halves (`first`, `second`) that are extended (with given poses: `extended`; with intrinsics alone:
`extended alone`), merged (`merged`; `merged alone` with a second half that was built with
intrinsics alone, so that it drifts) and thinned to half (`pruned`; beside it `every second`, a map
built from every second image). The second half is given in another frame, which is to be found from
the images, but for the rows of the `same frame`, which get --same-frame. Printed for each map:
queries localized, and the median errors. Maps are kept in DIR; the commands go on where they
stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.datasets.colmap import PosedImage, posed_images
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.images import read_gray
from deviloc_ros.localization import Localizer, PoseEstimate
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.mapping.living.extend import ExtendOptions, extend_map
from deviloc_ros.mapping.living.merge import MergeOptions, merge_maps
from deviloc_ros.mapping.living.prune import PruneOptions, prune_map
from deviloc_ros.mapping.map_frame import transform_map
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics
from deviloc_ros.maps.map import Map

ROWS = (
    "all",
    "first",
    "second",
    "extended",
    "extended, same frame",
    "extended alone",
    "merged",
    "merged, same frame",
    "merged alone",
    "pruned",
    "every second",
)
ELSEWHERE = Similarity(
    1.0, Rotation.from_euler("xyz", [3, -5, 70], degrees=True), np.array([80.0, -40.0, 6.0])
)


class Scene:
    """The maps of a scene, each made when it is first asked for."""

    def __init__(self, folder: Path, work: Path, config: LocalizerConfig) -> None:
        """Divide the images."""
        model = folder / "model" if (folder / "model").is_dir() else folder
        self._images, self._model, self._work = folder / "images", model, work
        self._config = config
        posed = posed_images(model)
        self.queries = posed[1::3]
        self.mapped = [item for i, item in enumerate(posed) if i % 3 != 1]
        work.mkdir(parents=True, exist_ok=True)

    def path(self, row: str) -> Path:
        """Return a map's file, which is made if there is none."""
        path = self._work / f"{row.replace(',', '').replace(' ', '_')}.devmap"
        if not path.exists():
            told = self._makers()[row](path)
            path.with_suffix(".txt").write_text(told, encoding="utf-8")
        return path

    def told(self, row: str) -> str:
        """Return what the command told that made a map."""
        return self.path(row).with_suffix(".txt").read_text(encoding="utf-8")

    def _makers(self) -> dict[str, Callable[[Path], str]]:
        half = len(self.mapped) // 2
        first, second = self.mapped[:half], self.mapped[half:]
        return {
            "all": lambda path: self._build(path, self.mapped),
            "first": lambda path: self._build(path, first),
            "second": lambda path: self._build(path, second),
            "extended": lambda path: self._extend(path, second, _elsewhere(second)),
            "extended, same frame": lambda path: self._extend(path, second, second, True),
            "extended alone": lambda path: self._extend(path, second, None),
            "second, moved": self._move,
            "merged": lambda path: self._merge(path, "second, moved"),
            "merged, same frame": lambda path: self._merge(path, "second", True),
            "second alone": lambda path: self._build(path, second, alone=True),
            "merged alone": lambda path: self._merge(path, "second alone"),
            "pruned": self._prune,
            "every second": lambda path: self._build(path, self.mapped[::2]),
        }

    def _build(self, path: Path, posed: Sequence[PosedImage], alone: bool = False) -> str:
        names = tuple(item.name for item in posed)
        options = BuildOptions(config=self._config, metric=not alone, names=names)
        if alone:
            options = replace(options, intrinsics=Intrinsics(known=posed[0].camera))
        summary = build_map(self._images, path, None if alone else self._model, options)
        return f"{len(summary.map.references)} images"

    def _extend(
        self,
        path: Path,
        new: Sequence[PosedImage],
        posed: Sequence[PosedImage] | None,
        same_frame: bool = False,
    ) -> str:
        cameras = {item.name: item.camera for item in new}
        options = ExtendOptions(config=self._config, model_metric=True, same_frame=same_frame)
        summary = extend_map(self.path("first"), self._images, cameras, posed, path, options)
        errors = _pose_errors(summary.map, new)
        return (
            f"{summary.num_localized} of {len(new)} localized, {summary.num_added} added, their "
            f"poses {1000 * np.median(errors):.1f} mm off (largest {1000 * max(errors):.1f}); "
            f"old images: {summary.check.text('m')}"
        )

    def _merge(self, path: Path, second: str, same_frame: bool = False) -> str:
        options = MergeOptions(self._config, same_frame=same_frame)
        summary = merge_maps(self.path("first"), self.path(second), path, options)
        return (
            f"localized {summary.localized[0]} and {summary.localized[1]}, seam "
            f"{1000 * summary.seam[0]:.1f} mm, {summary.seam[1]:.3f} deg"
            + (
                ""
                if summary.refined is None
                else f", adjusted {1000 * summary.refined[0]:.1f} mm, {summary.refined[1]:.3f} deg"
            )
        )

    def _move(self, path: Path) -> str:
        second = Map.load(self.path("second"))
        transform_map(second, ELSEWHERE, metric=True, gravity_aligned=False).save(path)
        return "in another frame"

    def _prune(self, path: Path) -> str:
        options = PruneOptions(num_images=len(self.mapped) // 2, config=self._config)
        summary = prune_map(self.path("all"), path, options)
        return f"dropped images: {summary.cost.text('m')}"

    def scores(self, row: str) -> str:
        """Localize the queries in a map; return the cells of its line."""
        path = self.path(row)
        localizer = Localizer.load(path, self._config)
        metres, degrees = [], []
        for query in self.queries:
            result = localizer.localize(read_gray(self._images / query.name), query.camera)
            if isinstance(result, PoseEstimate):
                error = result.map_from_camera.distance_to(query.camera_from_map.inverse())
                metres.append(error[0])
                degrees.append(error[1])
        found = f"{len(metres)} of {len(self.queries)}"
        if not metres:
            return f"{found} | - | - | {path.stat().st_size / 1e6:.1f} MB"
        return (
            f"{found} | {1000 * np.median(metres):.1f} mm | {np.median(degrees):.4f} deg | "
            f"{path.stat().st_size / 1e6:.1f} MB"
        )


def _elsewhere(posed: Sequence[PosedImage]) -> list[PosedImage]:
    """Return images with their poses in another frame."""
    return [
        replace(item, camera_from_map=ELSEWHERE.camera_pose(item.camera_from_map)) for item in posed
    ]


def _pose_errors(reference_map: Map, new: Sequence[PosedImage]) -> list[float]:
    true = {item.name: item.camera_from_map.inverse() for item in new}
    return [
        reference.camera_from_map.inverse().distance_to(true[reference.name])[0]
        for reference in reference_map.references
        if reference.name in true
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("scene", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    scene = Scene(args.scene, args.work, load(LocalizerConfig, None, args.set))
    print("| map | localized | position | rotation | size | how it was made |")
    print("|---|---|---|---|---|---|")
    for row in args.only:
        try:
            cells = f"{scene.scores(row)} | {scene.told(row)}"
        except NothingFoundError as error:
            cells = f"- | - | - | - | refused: {error}"
        print(f"| {row} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
