"""False fixes, and right poses lost, with and without doubt; prints a Markdown table.

    ./run bench doubt DATA [--work WORK] [--only ROW ...] [--output table.md]

DATA is that of benchmarks/accuracy.py. "Before" are the limits on inliers, coverage and sigma
alone. A pose of the place is false if it is a metre and five sigmas off, or five degrees; of
another place every pose is.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from accuracy import Bench, print_table
from doubt_scenes import darkened, share_seen, write_terrace
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig, VerificationConfig
from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.datasets.image_folder import list_images
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.localization.backend import backend_of
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.query import admit
from deviloc_ros.localization.types import FailureReason, PoseEstimate
from deviloc_ros.maps.map import Map
from deviloc_ros.schema import load

HEADER = (
    "| queries | number | before: believed | false | now: believed | false | right poses lost | "
    "required | met |\n|---|---|---|---|---|---|---|---|---|\n"
)
BEFORE = VerificationConfig(max_log10_false_alarms=300, max_rival_chance=1)
FALSE_METRES, FALSE_SIGMAS, FALSE_DEGREES = 1.0, 5.0, 5.0
# References are withheld of whose points the query sees a larger share.
WITHHELD = (0.5, 0.25, 0.1, 0.03)
# Of images whose camera is unknown: the focal length of a usual lens, of the longer side.
FOCAL = 1.0
# Scenes of DATA that show one and the same place.
COURTYARD = frozenset({"castle-P19", "castle-P30", "fountain-P11", "entry-P10"})
STRIDE = {"tum-fr1-rpy": 12, "statue-sunset-noon": 10, "kitti-residential": 5, "fox": 5}


@dataclass(frozen=True)
class Sought:
    """An image to look for.

    Attributes:
        image: (H, W) uint8.
        camera: its intrinsics.
        camera_from_map: the truth; None: it is not in the map.
        excluded: references that are withheld.
    """

    image: NDArray[np.uint8]
    camera: Camera
    camera_from_map: Transform | None
    excluded: NDArray[np.int64] | None = None


@dataclass
class Count:
    """A line of the table.

    Attributes:
        title: what was looked for.
        all_right: no right pose may be lost.
        most_false: so many false ones may be believed.
        number: images that were looked for.
        believed_before: poses without doubt.
        false_before: of these.
        believed: poses.
        false: of these.
        lost: why right poses of before are not believed.
    """

    title: str
    all_right: bool = False
    most_false: int = 0
    number: int = 0
    believed_before: int = 0
    false_before: int = 0
    believed: int = 0
    false: int = 0
    lost: tuple[FailureReason, ...] = ()

    @property
    def met(self) -> bool:
        """Whether no false pose was believed and none lost that must not be."""
        return self.false <= self.most_false and not (self.all_right and self.lost)

    def __str__(self) -> str:
        """Return the line."""
        reasons = ", ".join(
            f"{self.lost.count(reason)} {reason.name}" for reason in dict.fromkeys(self.lost)
        )
        required = f"at most {self.most_false} false" if self.most_false else "none false"
        required += ", none lost" if self.all_right else ""
        cells = (
            self.title, self.number, self.believed_before, self.false_before, self.believed,
            self.false, reasons or "none", required, "yes" if self.met else "**no**",
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


def is_false(estimate: PoseEstimate, sought: Sought) -> bool:
    """Whether a pose is of another place."""
    if sought.camera_from_map is None:
        return True
    metres, degrees = estimate.map_from_camera.distance_to(sought.camera_from_map.inverse())
    sigma = float(np.sqrt(np.linalg.eigvalsh(estimate.covariance[:3, :3]).max()))
    return metres > max(FALSE_METRES, FALSE_SIGMAS * sigma) or degrees > FALSE_DEGREES


def count(row: Count, localizer: Localizer, images: Iterable[Sought]) -> Count:
    """Look for images by both limits and fill a line."""
    extractor, now = backend_of(localizer.config).extractor(), localizer.config.verification
    for sought in images:
        admitted = admit([sought.image], [sought.camera], extractor)
        if not admitted.queries:
            continue
        row.number += 1
        localizer.set_verification(BEFORE)
        before = localizer.localize_query(admitted.queries[0], excluded=sought.excluded)
        localizer.set_verification(now)
        if not isinstance(before, PoseEstimate):
            continue
        row.believed_before += 1
        false = is_false(before, sought)
        row.false_before += false
        after = localizer.localize_query(admitted.queries[0], excluded=sought.excluded)
        if isinstance(after, PoseEstimate):
            row.believed += 1
            row.false += false
        elif not false:
            row.lost += (after.reason,)
    return row


def localizer_of(bench: Bench, name: str, images: Path, model: Path) -> Localizer:
    """Return the localizer of a map that is built unless it is there."""
    bench.build(name, images, "--model", model, "--metric")
    config = load(LocalizerConfig, None, bench.settings[1::2])
    return Localizer(Map.load(bench.work / f"{name}.devmap"), config)


def localizer_of_others(bench: Bench, scene: str) -> Localizer:
    """Return a localizer in the map of two thirds of a scene's images."""
    references, _ = bench.split(scene)
    return localizer_of(bench, f"{scene}-given", bench.data / scene / "images", references)


def queries(images: Path, model: Path, dark: bool = False) -> Iterator[Sought]:
    """Return the images of a model, as they are or darkened."""
    for number, posed in enumerate(sorted(posed_images(model), key=lambda image: image.name)):
        image = read_gray(images / posed.name)
        yield Sought(
            darkened(image, number) if dark else image, posed.camera, posed.camera_from_map
        )


def withheld(localizer: Localizer, images: Path, model: Path) -> Iterator[Sought]:
    """Return the images of a model without the references that see the same, in four steps."""
    for posed in sorted(posed_images(model), key=lambda image: image.name):
        shares = share_seen(localizer.map, posed.camera, posed.camera_from_map)
        named = [reference.name == posed.name for reference in localizer.map.references]
        image = read_gray(images / posed.name)
        for share in WITHHELD:
            excluded = np.flatnonzero((shares > share) | named)
            if len(excluded) < len(shares):
                yield Sought(image, posed.camera, posed.camera_from_map, excluded)


def elsewhere(data: Path, without: Iterable[str], denser: int = 1) -> Iterator[Path]:
    """Return images of the scenes of DATA, but for those that show the map's place.

    Args:
        data: one folder a scene.
        without: names of scenes.
        denser: so many times as many images as else.
    """
    for scene in sorted(path for path in data.iterdir() if path.is_dir()):
        if scene.name in without:
            continue
        folders = sorted({path.parent for path in scene.rglob("*.jpg")})
        folders += sorted({path.parent for path in scene.rglob("*.png")} - set(folders))
        for folder in folders:
            stride = max(1, STRIDE.get(scene.name, 3) // denser)
            for name in list_images(folder)[::stride]:
                yield folder / name


def without_truth(path: Path) -> Sought:
    """Return an image of another place, with the camera of a usual lens."""
    image = read_gray(path)
    height, width = image.shape
    focal = FOCAL * max(height, width)
    params = (focal, focal, width / 2, height / 2)
    return Sought(image, Camera("PINHOLE", width, height, params), None)


def castle(bench: Bench) -> Iterator[Count]:
    """Look for castle-P19 in a map of castle-P30: as it is, by night, and with it withheld."""
    data = bench.data
    localizer = localizer_of(bench, "castle", data / "castle-P30" / "images", data / "castle-P30")
    images, model = data / "castle-P19" / "images", data / "castle-P19"
    own = data / "castle-P30"
    yield count(Count("castle-P19", all_right=True), localizer, queries(images, model))
    dark = queries(images, model, dark=True)
    yield count(Count("castle-P19, darkened", all_right=True), localizer, dark)
    yield count(Count("castle-P19, withheld"), localizer, withheld(localizer, images, model))
    own_withheld = itertools.islice(withheld(localizer, own / "images", own), 0, None, 3)
    yield count(Count("castle-P30, withheld, every third"), localizer, own_withheld)


def thirds(bench: Bench, scene: str) -> Iterator[Count]:
    """Look for every third image of a scene in a map of the others, and the same by night."""
    images, model = bench.data / scene / "images", bench.split(scene)[1]
    localizer = localizer_of_others(bench, scene)
    yield count(Count(scene, all_right=True), localizer, queries(images, model))
    yield count(Count(f"{scene}, darkened"), localizer, queries(images, model, dark=True))


def other_places(bench: Bench) -> Iterator[Count]:
    """Look for images of all scenes in maps of other scenes."""
    data = bench.data
    for scene in ("castle-P30", "kitti-residential", "fountain-P11", "entry-P10", "fox"):
        if scene == "castle-P30":
            localizer = localizer_of(bench, "castle", data / scene / "images", data / scene)
        else:
            localizer = localizer_of_others(bench, scene)
        same_place = COURTYARD if scene in COURTYARD else {scene}
        images = map(without_truth, elsewhere(data, same_place))
        yield count(Count(f"other places in {scene}"), localizer, images)


def kitti(bench: Bench) -> Iterator[Count]:
    """Look for thirds of a drive."""
    return thirds(bench, "kitti-residential")


def fountain(bench: Bench) -> Iterator[Count]:
    """Look for thirds of a fountain."""
    return thirds(bench, "fountain-P11")


def entry(bench: Bench) -> Iterator[Count]:
    """Look for thirds of an entry."""
    return thirds(bench, "entry-P10")


def fox(bench: Bench) -> Iterator[Count]:
    """Look for thirds of a video; its model's unit is not the metre, but near."""
    return thirds(bench, "fox")


def terrace(bench: Bench) -> list[Count]:
    """Look for houses that are copies of one, by night, where the map has them and beyond."""
    folder = bench.work / "terrace"
    write_terrace(folder)
    drive = folder / "map"
    localizer = localizer_of(bench, "terrace", drive / "images", drive / "model")

    def of(title: str, name: str, most_false: int = 0) -> Count:
        found = queries(folder / name / "images", folder / name / "model")
        return count(Count(title, most_false=most_false), localizer, found)

    return [
        of("like houses by night, in the map", "here"),
        of("like houses by night, beyond the map", "beyond", most_false=6),
    ]


ROWS = {
    "castle": castle,
    "kitti": kitti,
    "fountain": fountain,
    "entry": entry,
    "fox": fox,
    "terrace": terrace,
    "elsewhere": other_places,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    return print_table("False fixes, and right poses lost.", HEADER, ROWS, arguments)


if __name__ == "__main__":
    sys.exit(main())
