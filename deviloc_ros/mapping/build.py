"""Build a map from images: structure from motion, features, a 3D point for each, calibration."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pycolmap
import torch

from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage, read_model
from deviloc_ros.errors import InputError, NothingFoundError
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.retrieval.global_descriptor import (
    describe,
    make_codebook,
    sample_descriptors,
)
from deviloc_ros.mapping.assemble import assemble, store_images
from deviloc_ros.mapping.drive.frame import DriveFrame, bring_into_frame
from deviloc_ros.mapping.inputs import check_topicfm, given_poses, sizes_that_fit, wanted_images
from deviloc_ros.mapping.map_frame import transform_map, z_up_from
from deviloc_ros.mapping.multiview.consistency import make_consistent
from deviloc_ros.mapping.multiview.leave_one_out import LeftOut
from deviloc_ros.mapping.self_calibration import calibrate, calibration_queries
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics
from deviloc_ros.mapping.sfm.mappers import MIN_MODEL_IMAGES, Mapper
from deviloc_ros.mapping.sfm.pairs import choose_pairs, choose_posed_pairs
from deviloc_ros.mapping.sfm.reconstruction import StructureFromMotion
from deviloc_ros.mapping.sfm.sift_settings import FINE_SIFT, settings_for
from deviloc_ros.mapping.workspace import Workspace
from deviloc_ros.maps.map import Map


@dataclass(frozen=True)
class BuildOptions:
    """How to build a map.

    Attributes:
        intrinsics: what is known of the cameras, where no model is given.
        config: the localizer the map is for.
        metric: the given model is in metres.
        gravity_aligned: the given model's axis `up` points up.
        up: that axis, one of map_frame.UP_AXES; the map is turned so that its z points up.
        keep_workspace: leave COLMAP's database and models beside the map.
        names: the images that are to be in it, by path below the folder; None: all of the folder.
        odometry: camera_from_odometry of images, metres, z up, by name: a map without a given model
            is brought into this frame (drive/frame.py). Empty: it is not known.
        fixes: of a satellite receiver along the odometry; the frame is then theirs.
        mapper: of COLMAP, where no model is given; see find_models.
        workers: who does what is done image by image; the map does not depend on it.
    """

    intrinsics: Intrinsics = field(default_factory=Intrinsics)
    config: LocalizerConfig = field(default_factory=LocalizerConfig)
    metric: bool = False
    gravity_aligned: bool = False
    up: str = "z"
    keep_workspace: bool = False
    names: tuple[str, ...] | None = None
    odometry: Mapping[str, Transform] = field(default_factory=dict)
    fixes: Sequence[PositionFix] = ()
    mapper: Mapper = "auto"
    workers: Workers = THIS_PROCESS


@dataclass(frozen=True)
class BuildSummary:
    """What came of a build.

    Attributes:
        map: the map, as written.
        num_images: images that were to be in it.
        adapted: those of another size than the known camera, which was scaled or turned to them.
        drive: how the map lies in the frame of its drive, if odometry is known.
    """

    map: Map
    num_images: int
    adapted: tuple[str, ...] = ()
    drive: DriveFrame | None = None


def build_map(
    images: Path, output: Path, model: Path | None, options: BuildOptions
) -> BuildSummary:
    """Build a map and write it to a file.

    An interrupted build leaves `OUTPUT.build` and is taken up from there by the same call.

    Args:
        images: folder of images.
        output: the map file.
        model: COLMAP model whose poses and intrinsics are taken as given; None: from scratch.
        options: see BuildOptions.

    Raises:
        InputError: images or model cannot be used, or another process builds this map.
        NothingFoundError: no map came about.
    """
    names: Sequence[str] = wanted_images(images, options.names)
    posed: dict[str, PosedImage] = {}
    unregistered: dict[str, str] = {}
    if model is not None:
        posed, unregistered = given_poses(images, model, names)
        names = sorted(posed)
    if options.config.matching.matcher == "topicfm":
        check_topicfm(posed, options.intrinsics)
    sizes, refused = sizes_that_fit(images, names, posed, options.intrinsics)
    if not sizes:
        raise InputError(f"{images}: no image can be used: {_first(refused)}")
    unregistered |= refused
    inputs = (names, posed, options.intrinsics, options.config, options.odometry, options.fixes)
    with Workspace(output, images, inputs) as workspace:
        # A large place has gigabytes of features: they are let go before the multi-view step.
        alone, drive = _lifted(images, model, sizes, posed, unregistered, options, workspace)
        built = _finished(alone, drive, options)
        built.save(output)
        if not options.keep_workspace:
            workspace.remove()
    known = [(camera.width, camera.height) for camera in options.intrinsics.known_cameras]
    adapted = (name for name, size in sizes.items() if known and size not in known)
    num_images = len(names) + len(set(built.unregistered) - set(names))
    return BuildSummary(built, num_images, tuple(adapted), drive)


def _finished(alone: Map, drive: DriveFrame | None, options: BuildOptions) -> Map:
    """Return the map with depths from all views, calibrated, in the frame that was asked for."""
    config, workers = options.config, options.workers
    built, left_out = alone, LeftOut(calibration_queries(alone))
    if config.lifting.neighbours:
        built = make_consistent(alone, config, left_out=left_out, workers=workers)
    built = calibrate(built, config, alone, left_out, workers)
    if options.gravity_aligned and options.up != "z":
        built = transform_map(built, z_up_from(options.up), options.metric, gravity_aligned=True)
    if drive is not None and drive.origin is not None:
        built = built.with_meta({"origin": [float(value) for value in drive.origin]})
    return built


def _lifted(
    images: Path,
    model: Path | None,
    sizes: Mapping[str, tuple[int, int]],
    posed: Mapping[str, PosedImage],
    unregistered: dict[str, str],
    options: BuildOptions,
    workspace: Workspace,
) -> tuple[Map, DriveFrame | None]:
    """Return the map with the depths that each image has alone, and how it lies in its drive."""
    config, workers = options.config, options.workers
    depths_from_views = config.matching.matcher == "xfeat" and config.lifting.neighbours > 0
    sift = FINE_SIFT if model is None or not depths_from_views else settings_for(sizes.values())
    sfm = StructureFromMotion(images, workspace.folder, config.seed, sift)
    refused: dict[str, str] = {}
    usable = list(sizes)
    if model is None or not len(read_model(model).points3D):
        refused |= sfm.stage(usable)
        usable = [name for name in usable if name not in refused]
    features, undescribed = workspace.features(usable, config, workers)
    refused |= undescribed
    unregistered |= refused
    if not features:
        raise InputError(f"{images}: no image can be used: {_first(refused)}")

    seed = config.seed
    sample = sample_descriptors([item.descriptors.numpy() for item in features.values()], seed)
    codebook = make_codebook(sample, seed)
    words = torch.from_numpy(codebook)
    descriptors = {name: describe(item, words) for name, item in features.items()}

    usable = list(features)
    if model is not None:
        reconstruction = read_model(model)
        if not len(reconstruction.points3D):
            template = sfm.import_poses([posed[name] for name in usable])
            blank = sfm.extract(usable)
            sfm.match(choose_posed_pairs(_without(blank, descriptors), posed))
            reconstruction = sfm.triangulate(template)
    else:
        if len(usable) < MIN_MODEL_IMAGES:
            raise NothingFoundError(
                f"{images}: {len(usable)} of its images can be used, a map without --model needs "
                f"at least {MIN_MODEL_IMAGES}" + (f"; {_first(refused)}" if refused else "")
            )
        sfm.import_images({name: sizes[name] for name in usable}, options.intrinsics)
        blank = sfm.extract(usable)
        sfm.match(choose_pairs(_without(blank, descriptors)))
        reconstruction, elsewhere = sfm.reconstruct(len(usable), options.intrinsics, options.mapper)
        matched = sfm.verified_matches()
        unregistered |= _without_pose(reconstruction, usable, elsewhere, matched)
        unregistered |= blank
    if not len(reconstruction.points3D):
        raise NothingFoundError(
            f"{images}: no point of the place could be triangulated; a map needs overlapping, "
            "sharp images, and poses that are theirs"
        )
    drive = None
    if model is None and options.odometry:
        drive = bring_into_frame(reconstruction, options.odometry, options.fixes)

    alone = assemble(
        reconstruction, features, codebook, descriptors, unregistered, config,
        options.metric or drive is not None or options.intrinsics.rig_is_metric,
        (options.gravity_aligned and options.up == "z") or drive is not None,
        workers=workers,
    )  # fmt: skip
    return store_images(alone, images, config, workers), drive


def _without(
    names: Collection[str], descriptors: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the descriptors of all other images."""
    return {name: item for name, item in descriptors.items() if name not in names}


def _without_pose(
    reconstruction: pycolmap.Reconstruction,
    names: Sequence[str],
    elsewhere: Mapping[str, int],
    matched: Mapping[str, int],
) -> dict[str, str]:
    """Return why images have no pose in the reconstruction."""
    registered = {image.name for image in reconstruction.images.values() if image.has_pose}
    reasons: dict[str, str] = {}
    for name in names:
        if name in registered:
            continue
        if name in elsewhere:
            size = elsewhere[name]
            reasons[name] = f"in a separate model of {size} images that nothing ties to this one"
        elif not matched.get(name):
            reasons[name] = "has no verified matches with any other image"
        else:
            reasons[name] = f"matches {matched[name]} other images, but too weakly for a pose"
    return reasons


def _first(reasons: Mapping[str, str]) -> str:
    name, reason = next(iter(reasons.items()))
    return f"{name}: {reason}"
