"""Add images to a map as another look of the place, or of places beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.errors import InputError, NothingFoundError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.retrieval.global_descriptor import describe
from deviloc_ros.mapping.living.frame_fit import MIN_IMAGES, FrameFit, InBoth, fit_frames
from deviloc_ros.mapping.living.images_of_maps import certain
from deviloc_ros.mapping.living.join import free_name
from deviloc_ros.mapping.living.joint_model import JointModel, NewImage
from deviloc_ros.mapping.living.new_images import fitted_cameras, register_all
from deviloc_ros.mapping.living.new_look import with_new_look
from deviloc_ros.mapping.living.own_check import MAX_CHECKED, Comparison, compare
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.mapping.workspace import Workspace
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.map_file import map_id

DEFAULT_LABEL = "look"


@dataclass(frozen=True)
class ExtendOptions:
    """How to extend a map.

    Attributes:
        label: name of the look; None: the next number.
        model_metric: the given model is in metres, so that its scale is kept in a metric map.
        same_frame: the given model is in the map's frame: its poses are used unchanged.
        adjust_old: poses of the map's images may move, too: all are adjusted jointly.
        config: of the localizer; the settings of features are those of the map.
        keep_workspace: leave COLMAP's files beside the map.
    """

    label: str | None = None
    model_metric: bool = False
    same_frame: bool = False
    adjust_old: bool = False
    config: LocalizerConfig = field(default_factory=LocalizerConfig)
    keep_workspace: bool = False


@dataclass(frozen=True)
class ExtendSummary:
    """What came of it.

    Attributes:
        map: as written.
        look: name of the new look.
        num_images: images that were to be added.
        num_localized: of them, those that were localized in the map.
        num_added: of them, those that are in the map now.
        left_out: why others are not, by name.
        frame: how the given model's frame lies in the map's; None without a model.
        check: old images, localized in the old map and in the new one.
    """

    map: Map
    look: str
    num_images: int
    num_localized: int
    num_added: int
    left_out: Mapping[str, str]
    frame: FrameFit | None
    check: Comparison


def extend_map(
    map_path: Path,
    images: Path,
    cameras: Mapping[str, Camera],
    posed: Sequence[PosedImage] | None,
    output: Path,
    options: ExtendOptions,
) -> ExtendSummary:
    """Add images to a map and write the result to another file.

    Poses of the map's images stay as they are, unless asked otherwise. An interrupted run leaves
    `OUTPUT.build`, and is taken up from there by the same call.

    Args:
        map_path: the map.
        images: folder of the new images.
        cameras: of the new images, by path below the folder.
        posed: their given poses, in a frame of their own or the map's; None: from the images.
        output: the map file to write.
        options: see ExtendOptions.

    Raises:
        InputError: the map, an image or a camera cannot be used.
        NothingFoundError: no image could be added, or the map would localize worse than before.
    """
    old = Map.load(map_path)
    if not old.alignable:
        raise InputError(f"{map_path}: holds no images to match new ones with; build it again")
    config = config_of(old, options.config)
    look = _look_name(old, options.label)
    given = None if posed is None else {item.name: item for item in posed}
    inputs = (map_id(map_path), tuple(cameras.items()), given, look, config, options.same_frame,
              options.adjust_old)  # fmt: skip
    with Workspace(output, images, inputs) as workspace:
        built, num_localized, frame, check = _extended(
            old, images, cameras, given, look, config, options, workspace
        )
        num_added = len(built.references) - len(old.references)
        if check.is_worse:
            raise NothingFoundError(
                f"{output}: not written: the map would localize its own old images worse than "
                f"before: {check.text('m' if old.metric else 'units')}; leave out images that do "
                "not fit, or give better ones"
            )
        built.save(output)
        if not options.keep_workspace:
            workspace.remove()
    left_out = {k: v for k, v in built.unregistered.items() if k not in old.unregistered}
    return ExtendSummary(
        built, look, len(cameras), num_localized, num_added, left_out, frame, check
    )


def config_of(old: Map, config: LocalizerConfig) -> LocalizerConfig:
    """Return a configuration with the feature settings that the map was built with.

    New features must be like the map's. Matcher xfeat localizes in every map.
    """
    stored = old.meta.get("features", {})
    kept = {key: stored[key] for key in ("max_size", "num_keypoints") if key in stored}
    matching = config.matching.model_copy(update={"matcher": "xfeat"})
    features = config.features.model_copy(update=kept)
    return config.model_copy(update={"matching": matching, "features": features})


def _look_name(old: Map, label: str | None) -> str:
    taken = {reference.look for reference in old.references}
    if label is not None:
        return label
    return free_name(DEFAULT_LABEL, {*taken, DEFAULT_LABEL})


def _extended(
    old: Map,
    images: Path,
    cameras: Mapping[str, Camera],
    given: Mapping[str, PosedImage] | None,
    look: str,
    config: LocalizerConfig,
    options: ExtendOptions,
    workspace: Workspace,
) -> tuple[Map, int, FrameFit | None, Comparison]:
    cameras, unfit = fitted_cameras(images, cameras)
    features, left_out = workspace.features(sorted(cameras), config)
    left_out |= unfit
    registered, reasons = register_all(old, images, cameras, features, config, workspace)
    if not registered:
        first = next(iter((left_out | reasons).items()))
        raise NothingFoundError(
            f"{images}: none of {len(cameras) + len(unfit)} images can be localized in the map "
            f"({first[0]}: {first[1]})"
        )
    frame = None
    poses: dict[str, Transform | None]
    if given is None:
        poses = {
            name: registered[name].camera_from_map if name in registered else None
            for name in features
        }
    else:
        without = {name for name in features if name not in given}
        left_out |= dict.fromkeys(without, "has no pose in the given model")
        features = {name: item for name, item in features.items() if name in given}
        both = {name: item for name, item in registered.items() if name in given}
        frame = fit_frames(
            [
                InBoth(given[name].camera_from_map, item.camera_from_map, item.position_sigma)
                for name, item in certain(both, MIN_IMAGES).items()
            ],
            old.metric and options.model_metric,
            "the given model",
            options.same_frame,
        )
        poses = {
            name: frame.target_from_source.camera_pose(given[name].camera_from_map)
            for name in features
        }
    words = torch.from_numpy(np.array(old.codebook))
    described = {name: describe(item, words) for name, item in features.items()}
    new = {
        name: NewImage(images / name, cameras[name], poses[name], registered.get(name))
        for name in features
    }
    joint = JointModel(old, new, workspace.folder, config.seed, refine=given is None)
    model, unplaced = joint.run(described)
    for name, why in unplaced.items():
        left_out[name] = f"{reasons[name]}; {why}" if name in reasons else why
    for name in unplaced:
        features.pop(name, None)
    if not features:
        raise NothingFoundError(f"{images}: no image could be added to the map")
    built = with_new_look(
        old, images, model, joint, features, described, registered, left_out, look, config,
        options.adjust_old,
    )  # fmt: skip
    check = compare(old, built, spread(len(old.references), MAX_CHECKED), config)
    return built, len(registered), frame, check
