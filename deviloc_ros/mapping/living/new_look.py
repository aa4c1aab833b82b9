"""The new look of a map: its images lifted, joined to the others and calibrated with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray

from deviloc_ros import __version__
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.types import Features
from deviloc_ros.mapping.assemble import KnownPoints, assemble, store_images
from deviloc_ros.mapping.living.join import Sightings, join, renamed
from deviloc_ros.mapping.living.joint_model import JointModel
from deviloc_ros.mapping.living.joint_refinement import PositionPrior, refine_jointly
from deviloc_ros.mapping.living.own_check import MAX_CHECKED
from deviloc_ros.mapping.living.recalibration import recalibrate
from deviloc_ros.mapping.living.registration import Registered
from deviloc_ros.mapping.multiview.consistency import make_consistent
from deviloc_ros.mapping.multiview.leave_one_out import LeftOut
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.maps.map import Map


def with_new_look(
    old: Map,
    images: Path,
    model: pycolmap.Reconstruction,
    joint: JointModel,
    features: Mapping[str, Features],
    described: Mapping[str, torch.Tensor],
    registered: Mapping[str, Registered],
    left_out: Mapping[str, str],
    look: str,
    config: LocalizerConfig,
    adjust_old: bool,
) -> Map:
    """Return the map with new images as another look.

    Args:
        old: the map.
        images: folder of the new images.
        model: what COLMAP made of them.
        joint: where that came from.
        features: of the images that are added, by name.
        described: their global descriptors.
        registered: those that were localized in the map.
        left_out: why others are not added.
        look: name of the new look.
        config: of the localizer.
        adjust_old: poses of the map's images may move, too.
    """
    known = {
        name: KnownPoints(item.pixels, _points(old, item.points))
        for name, item in registered.items()
        if name in features
    }
    alone = assemble(
        model, features, old.codebook, described, left_out, config, old.metric,
        old.gravity_aligned, known,
    )  # fmt: skip
    alone = store_images(alone, images, _storing(old, config))
    alone = replace(alone, references=[replace(r, look=look) for r in alone.references])
    names = [reference.name for reference in alone.references]
    sees_old = {i: registered[name] for i, name in enumerate(names) if name in registered}
    old_in_new = Sightings(
        {i: item.points for i, item in sees_old.items()},
        {i: item.pixels for i, item in sees_old.items()},
    )
    index_of = {point_id: i for i, point_id in enumerate(sorted(model.points3D))}
    alone = renamed(alone, {reference.name for reference in old.references}, look)
    joined = join(old, alone, old_in_new, joint.sightings(model, index_of))
    if adjust_old:
        joined = _adjusted(joined, len(old.references), sees_old)
    added = np.arange(len(old.references), len(joined.references), dtype=np.int64)
    queries = added[spread(len(added), MAX_CHECKED)]
    left = LeftOut(queries)
    built = joined
    if config.lifting.neighbours:
        built = make_consistent(joined, config, left_out=left, added=added)
    built = recalibrate(built, config, joined, left, queries)
    return built.with_meta(dict(old.meta)).with_meta({"extended": _history(old, look, len(added))})


def _adjusted(joined: Map, count: int, seen: Mapping[int, Registered]) -> Map:
    """Return the map with all of its images adjusted jointly.

    Localized images are known as well as their localization says, and old ones as well as these.

    Args:
        joined: the old map, and the new images behind.
        count: of old images.
        seen: new images that were localized in the old map, by their place behind it.
    """
    usual = np.median([item.position_covariance for item in seen.values()], axis=0)
    priors = {
        index: PositionPrior(reference.camera_from_map.inverse().translation, usual)
        for index, reference in enumerate(joined.references[:count])
    }
    for index, item in seen.items():
        position = item.camera_from_map.inverse().translation
        priors[count + index] = PositionPrior(position, item.position_covariance)
    return refine_jointly(joined, np.ones(len(joined.references), dtype=np.bool_), 0, priors)


def _points(old: Map, indices: NDArray[np.int32]) -> NDArray[np.float64]:
    return np.asarray(old.point_array[indices], dtype=np.float64) + old.origin


def _storing(old: Map, config: LocalizerConfig) -> LocalizerConfig:
    """Return the configuration that stores images as the map's are stored."""
    if old.image_size is None:
        return config
    matching = config.matching.model_copy(update={"matcher": "topicfm"})
    topicfm = config.topicfm.model_copy(update={"image_size": old.image_size})
    return config.model_copy(update={"matching": matching, "topicfm": topicfm})


def _history(old: Map, look: str, num_images: int) -> list[Any]:
    entry = {"look": look, "images": num_images, "program": f"deviloc_ros {__version__}"}
    return [*old.meta.get("extended", []), entry]
