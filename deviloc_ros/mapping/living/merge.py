"""Merge two maps whose places overlap: one frame, one file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deviloc_ros import __version__
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.mapping.alike import check_alike
from deviloc_ros.mapping.living.extend import config_of
from deviloc_ros.mapping.living.frame_fit import (
    MIN_IMAGES,
    FrameFit,
    InBoth,
    fit_frames,
    residuals,
)
from deviloc_ros.mapping.living.images_of_maps import MAX_TRIED, certain, localize_images
from deviloc_ros.mapping.living.join import Sightings, described_by, join, renamed
from deviloc_ros.mapping.living.joint_refinement import PositionPrior, refine_jointly
from deviloc_ros.mapping.living.own_check import MAX_CHECKED, Comparison, compare
from deviloc_ros.mapping.living.registration import Registered
from deviloc_ros.mapping.map_frame import transform_map
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.mapping.tiling import calibrated_together
from deviloc_ros.mapping.workspace import Workspace
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.map_file import map_id

# The two maps' opinions of the frame may differ by so many times what their images leave open.
MAX_SEAM = 5.0
# The second map bends if that leaves at most this share of the seam, and turns no image by more
# than before, degrees.
BENDING_GAIN = 0.7
MIN_TURN = 0.05


@dataclass(frozen=True)
class MergeOptions:
    """How to merge maps.

    Attributes:
        config: of the localizer; the settings of features are those of the maps.
        label: the look that images of the second map get; None: they keep theirs.
        refine: bend the second map so that both agree; else it moves as a whole.
        same_frame: both maps are in one frame: neither is moved or bent.
        keep_workspace: leave what was localized in `OUTPUT.build`.
    """

    config: LocalizerConfig = field(default_factory=LocalizerConfig)
    label: str | None = None
    refine: bool = True
    same_frame: bool = False
    keep_workspace: bool = False


@dataclass(frozen=True)
class MergeSummary:
    """What came of it.

    Attributes:
        map: as written.
        frame: how the second map's frame lies in the first one's.
        localized: images of the second map that were localized in the first, and the reverse.
        tried: how many were tried, in the same order.
        seam: median distance of the localized images of either map from where the other has them,
            map units, and of their orientations, degrees, after the second map was moved; images
            that are known well count most.
        refined: the same after both were adjusted jointly; None: that made nothing better, and the
            second map was moved as a whole.
        check: images of the first map, localized in it and in the merged one.
    """

    map: Map
    frame: FrameFit
    localized: tuple[int, int]
    tried: tuple[int, int]
    seam: tuple[float, float]
    refined: tuple[float, float] | None
    check: Comparison


def merge_maps(
    first_path: Path, second_path: Path, output: Path, options: MergeOptions
) -> MergeSummary:
    """Bring the second map into the frame of the first, and write both as one.

    The second map moves as a whole first; what then remains between the two is the seam. Then both
    are adjusted jointly: poses and points of the first are held, those of the second bend.

    An interrupted run leaves `OUTPUT.build`, and is taken up from there by the same call.

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
    inputs = (map_id(first_path), map_id(second_path), config)
    with Workspace(output, first_path.parent, inputs) as workspace:
        there = localize_images(second, first, config, workspace.folder / "there",
                                f"{second_path.name} in {first_path.name}")  # fmt: skip
        back = localize_images(first, second, config, workspace.folder / "back",
                               f"{first_path.name} in {second_path.name}")  # fmt: skip
        summary = _merged(first, second, there, back, config, options, (first_path, second_path))
        if summary.check.is_worse:
            raise NothingFoundError(
                f"{output}: not written: the merged map would localize images of {first_path} "
                f"worse: {summary.check.text('m' if first.metric else 'units')}"
            )
        summary.map.save(output)
        if not options.keep_workspace:
            workspace.remove()
    return summary


def _merged(
    first: Map,
    second: Map,
    there: Mapping[int, Registered],
    back: Mapping[int, Registered],
    config: LocalizerConfig,
    options: MergeOptions,
    paths: tuple[Path, Path],
) -> MergeSummary:
    localized = len(there), len(back)
    there, back = certain(there, MIN_IMAGES), certain(back, MIN_IMAGES)
    sides = _in_both(first, second, there, back)
    rigid = first.metric and second.metric
    known = [*sides[0], *sides[1]]
    frame = fit_frames(known, rigid, str(paths[1]), options.same_frame)
    position, rotation = residuals(known, frame.target_from_source)
    if not options.same_frame:
        _check_both_agree(frame, sides, rigid, paths[1])
    moved = transform_map(second, frame.target_from_source, first.metric, first.gravity_aligned)
    if options.label is not None:
        moved = replace(
            moved, references=[replace(r, look=options.label) for r in moved.references]
        )
    moved = renamed(moved, {r.name for r in first.references}, paths[1].stem)
    moved = described_by(moved, first.codebook)
    merged = join(first, moved, _sightings(there), _sightings(back))
    refined = None
    if options.refine and not options.same_frame:
        bent, after = _refined(first, merged, frame, there, back, sides)
        # Bending follows noise, too: where few images tie the maps it can leave their shape.
        if after[0] < BENDING_GAIN * position and after[1] < max(rotation, MIN_TURN):
            merged, refined = bent, after
    counts = (len(first.references), len(second.references))
    calibration = calibrated_together([first.calibration, second.calibration], counts)
    names = [path.name for path in paths]
    merged = merged.with_calibration(calibration).with_meta(
        {"merged": names, "program": f"deviloc_ros {__version__}"}
    )
    check = compare(first, merged, spread(len(first.references), MAX_CHECKED), config)
    tried = [min(MAX_TRIED, len(item.references)) for item in (second, first)]
    return MergeSummary(
        merged, frame, localized, (tried[0], tried[1]),
        (float(position), float(rotation)), refined, check,
    )  # fmt: skip


def _refined(
    first: Map,
    merged: Map,
    frame: FrameFit,
    there: Mapping[int, Registered],
    back: Mapping[int, Registered],
    known: tuple[Sequence[InBoth], Sequence[InBoth]],
) -> tuple[Map, tuple[float, float]]:
    """Return the map with the images of the second map adjusted, and the seam that is left.

    Args:
        first: the map that stays.
        merged: both maps, the second one in its place.
        frame: how that was found.
        there: images of the second map, localized in the first.
        back: the reverse.
        known: the poses of both.
    """
    count = len(first.references)
    free = np.arange(len(merged.references)) >= count
    priors = {
        count + i: PositionPrior(
            item.camera_from_map.inverse().translation, item.position_covariance
        )
        for i, item in there.items()
    }
    bent = refine_jointly(merged, free, len(first.point_array), priors)
    seen_by_second, seen_by_first = known
    adjusted = [
        replace(image, source=bent.references[count + i].camera_from_map)
        for i, image in zip(there, seen_by_second, strict=True)
    ]
    for item, image in zip(back.values(), seen_by_first, strict=True):
        # An image that was localized in the second map goes where the best of its references went.
        best = count + int(item.references[0])
        before, after = (whole.references[best].camera_from_map for whole in (merged, bent))
        moved = frame.target_from_source.camera_pose(item.camera_from_map)
        adjusted.append(replace(image, source=moved @ before.inverse() @ after))
    left = residuals(adjusted, Similarity.identity())
    return bent, (float(left[0]), float(left[1]))


def _in_both(
    first: Map, second: Map, there: Mapping[int, Registered], back: Mapping[int, Registered]
) -> tuple[list[InBoth], list[InBoth]]:
    """Return the images of the second map that were localized in the first, and the reverse."""
    # Where units differ, both directions count alike.
    same_units = first.metric and second.metric
    units = [1.0 if same_units or not found else _median_sigma(found) for found in (there, back)]
    return (
        [
            InBoth(
                second.references[i].camera_from_map,
                item.camera_from_map,
                item.position_sigma / units[0],
            )
            for i, item in there.items()
        ],
        [
            InBoth(
                item.camera_from_map,
                first.references[i].camera_from_map,
                item.position_sigma / units[1],
            )
            for i, item in back.items()
        ],
    )


def _median_sigma(found: Mapping[int, Registered]) -> float:
    return float(np.median([item.position_sigma for item in found.values()]))


def _sightings(registered: Mapping[int, Registered]) -> Sightings:
    return Sightings(
        {index: item.points for index, item in registered.items()},
        {index: item.pixels for index, item in registered.items()},
    )


def _check_both_agree(
    frame: FrameFit, sides: tuple[Sequence[InBoth], Sequence[InBoth]], rigid: bool, path: Path
) -> None:
    """Refuse a frame that images of one map see elsewhere than those of the other.

    Raises:
        NothingFoundError: they do.
    """
    opinions: list[Similarity] = []
    for known in sides:
        try:
            opinions.append(fit_frames(known, rigid, str(path)).target_from_source)
        except NothingFoundError:
            return  # too few see the other map to say anything: the others decide alone
    centres = np.array([image.source.inverse().translation for side in sides for image in side])
    apart = np.linalg.norm(opinions[0].apply(centres) - opinions[1].apply(centres), axis=1)
    allowed = MAX_SEAM * max(frame.position_residual, 1e-9)
    if np.median(apart) > allowed:
        raise NothingFoundError(
            f"{path}: its images say that it lies {np.median(apart):.3g} from where those of the "
            f"other map say, more than the {allowed:.3g} that their errors explain"
        )
