"""Merge two maps whose places overlap: one frame, one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros import __version__
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import Query
from deviloc_ros.mapping.alike import check_alike
from deviloc_ros.mapping.living.extend import MAX_CHECKED, config_of
from deviloc_ros.mapping.living.frame_fit import FrameFit, fit_frames, residuals
from deviloc_ros.mapping.living.join import Sightings, described_by, join, renamed
from deviloc_ros.mapping.living.own_check import Comparison, compare
from deviloc_ros.mapping.living.registration import Registered, register
from deviloc_ros.mapping.map_frame import transform_map
from deviloc_ros.mapping.multiview.matching import reference_features
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.mapping.tiling import calibrated_together
from deviloc_ros.maps.map import Map

# So many images of a map are tried in the other one.
MAX_TRIED = 400
# The two maps' opinions of the frame may differ by so many times what their images leave open.
MAX_SEAM = 5.0


@dataclass(frozen=True)
class MergeOptions:
    """How to merge maps.

    Attributes:
        config: of the localizer; the settings of features are those of the maps.
        label: the look that images of the second map get; None: they keep theirs.
    """

    config: LocalizerConfig = field(default_factory=LocalizerConfig)
    label: str | None = None


@dataclass(frozen=True)
class MergeSummary:
    """What came of it.

    Attributes:
        map: as written.
        frame: how the second map's frame lies in the first one's.
        localized: images of the second map that were localized in the first, and the reverse.
        tried: how many were tried, in the same order.
        seam: median distance of the localized images of either map from where the other has them,
            map units, and of their orientations, degrees.
        check: images of the first map, localized in it and in the merged one.
    """

    map: Map
    frame: FrameFit
    localized: tuple[int, int]
    tried: tuple[int, int]
    seam: tuple[float, float]
    check: Comparison


def merge_maps(
    first_path: Path, second_path: Path, output: Path, options: MergeOptions
) -> MergeSummary:
    """Bring the second map into the frame of the first, and write both as one.

    The second map moves as a whole: neither is bent. What then remains between the two is the seam.

    Args:
        first_path: the map whose frame is kept.
        second_path: the map that is moved.
        output: the map file to write.
        options: see MergeOptions.

    Raises:
        InputError: a map cannot be used, or they are of other kinds.
        NothingFoundError: the maps do not show the same place, contradict each other, or the
            result would localize worse.
    """
    first, second = Map.load(first_path), Map.load(second_path)
    check_alike(first, second, False, "maps that become one must be built alike")
    config = config_of(first, options.config)
    there = _localize(second, first, config, f"{second_path.name} in {first_path.name}")
    back = _localize(first, second, config, f"{first_path.name} in {second_path.name}")
    source = [second.references[i].camera_from_map for i in there]
    target = [item.camera_from_map for item in there.values()]
    source += [item.camera_from_map for item in back.values()]
    target += [first.references[i].camera_from_map for i in back]
    rigid = first.metric and second.metric
    frame = fit_frames(source, target, rigid, str(second_path))
    seam = _seam(frame, list(zip(source, target, strict=True)))
    _check_both_agree(frame, first, second, there, back, rigid, second_path)
    moved = transform_map(second, frame.target_from_source, first.metric, first.gravity_aligned)
    if options.label is not None:
        moved = replace(
            moved, references=[replace(r, look=options.label) for r in moved.references]
        )
    moved = renamed(moved, {r.name for r in first.references}, second_path.stem)
    moved = described_by(moved, first.codebook)
    merged = join(first, moved, _sightings(there), _sightings(back))
    counts = (len(first.references), len(second.references))
    calibration = calibrated_together([first.calibration, second.calibration], counts)
    merged = merged.with_calibration(calibration).with_meta(
        {"merged": [first_path.name, second_path.name], "program": f"deviloc_ros {__version__}"}
    )
    check = compare(first, merged, spread(len(first.references), MAX_CHECKED), config)
    if check.is_worse:
        raise NothingFoundError(
            f"{output}: not written: the merged map would localize images of {first_path} "
            f"worse: {check.text('m' if first.metric else 'units')}"
        )
    merged.save(output)
    tried = tuple(min(MAX_TRIED, len(item.references)) for item in (second, first))
    return MergeSummary(merged, frame, (len(there), len(back)), (tried[0], tried[1]), seam, check)


def _localize(
    images: Map, reference_map: Map, config: LocalizerConfig, what: str
) -> dict[int, Registered]:
    """Localize images of one map in another one; those that fail are left out."""
    localizer = Localizer(reference_map, config)
    found = {}
    indices = spread(len(images.references), MAX_TRIED)
    for index in tqdm(indices, desc=what, unit="image", disable=None):
        features = reference_features(images, int(index), config, localizer.device)
        camera, image = images.references[index].camera, images.image_of(int(index))
        result = register(localizer, Query(features, camera, image))
        if isinstance(result, Registered):
            found[int(index)] = result
    return found


def _sightings(registered: Mapping[int, Registered]) -> Sightings:
    return Sightings(
        {index: item.points for index, item in registered.items()},
        {index: item.pixels for index, item in registered.items()},
    )


def _seam(frame: FrameFit, pairs: list[tuple[Transform, Transform]]) -> tuple[float, float]:
    """Return the median distances of all localized images, not only of those that agree."""
    position, rotation = residuals(pairs, frame.target_from_source)
    return float(position), float(rotation)


def _check_both_agree(
    frame: FrameFit,
    first: Map,
    second: Map,
    there: Mapping[int, Registered],
    back: Mapping[int, Registered],
    rigid: bool,
    path: Path,
) -> None:
    """Refuse a frame that images of one map see elsewhere than those of the other.

    Raises:
        NothingFoundError: they do.
    """
    opinions: list[tuple[Similarity, NDArray[np.float64]]] = []
    for source, target in (
        (
            [second.references[i].camera_from_map for i in there],
            [item.camera_from_map for item in there.values()],
        ),
        (
            [item.camera_from_map for item in back.values()],
            [first.references[i].camera_from_map for i in back],
        ),
    ):
        try:
            fit = fit_frames(source, target, rigid, str(path))
        except NothingFoundError:
            continue  # too few see the other map to say anything: the others decide alone
        centres = np.array([pose.inverse().translation for pose in source])
        opinions.append((fit.target_from_source, centres))
    if len(opinions) < len((there, back)):
        return
    centres = np.concatenate([centres for _, centres in opinions])
    apart = np.linalg.norm(opinions[0][0].apply(centres) - opinions[1][0].apply(centres), axis=1)
    allowed = MAX_SEAM * max(frame.position_residual, 1e-9)
    if np.median(apart) > allowed:
        raise NothingFoundError(
            f"{path}: its images say that it lies {np.median(apart):.3g} from where those of the "
            f"other map say, more than the {allowed:.3g} that their errors explain"
        )
