"""Build a map from images: structure from motion, features, a 3D point for each, calibration."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from deviloc_ros import __version__
from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage, posed_images, read_model
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import SUFFIXES, read_gray
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.lifting import GeometricInference, ReferenceView, lift
from deviloc_ros.localization.retrieval import describe, make_codebook
from deviloc_ros.localization.types import Features
from deviloc_ros.mapping.calibration import calibrate
from deviloc_ros.mapping.map import Calibration, Map, Reference
from deviloc_ros.mapping.sfm import Intrinsics, StructureFromMotion

EXHAUSTIVE_IMAGES = 60
PAIRS_BY_APPEARANCE = 25
PAIRS_BY_NAME = 10
SIFT_IMAGE_SIZE = 1600
CODEBOOK_SAMPLES = 60_000


@dataclass(frozen=True)
class BuildOptions:
    """How to build a map.

    Attributes:
        intrinsics: what is known of the cameras, where no model is given.
        config: the localizer the map is for.
        metric: the given model is in metres.
        gravity_aligned: the given model's z points up.
        keep_workspace: leave COLMAP's database and models beside the map.
    """

    intrinsics: Intrinsics = field(default_factory=Intrinsics)
    config: LocalizerConfig = field(default_factory=LocalizerConfig)
    metric: bool = False
    gravity_aligned: bool = False
    keep_workspace: bool = False


@dataclass(frozen=True)
class BuildSummary:
    """What came of a build.

    Attributes:
        map: the map, as written.
        num_images: images that were to be in it.
    """

    map: Map
    num_images: int


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
        InputError: images or model cannot be used, or no map came about.
    """
    names, unregistered = _readable_images(images)
    posed = None
    if model is not None:
        given = posed_images(model)
        posed = [image for image in given if image.name in names]
        unregistered |= {name: "not in the given model" for name in names} | unregistered
        for image in given:
            unregistered.pop(image.name, None)
            if image.name not in names:
                unregistered[image.name] = "in the given model, but there is no such image"
        if not posed:
            raise InputError(
                f"{model}: none of its {len(given)} images is in {images} "
                f"(the model names {given[0].name!r}, the folder holds {sorted(names)[0]!r})"
            )
        names = [image.name for image in posed]
    workspace = _workspace(output, images, names, model, options)

    features = _extract_features(images, names, workspace, options.config)
    codebook = make_codebook(_sample(features, options.config.seed), options.config.seed)
    words = torch.from_numpy(codebook)
    descriptors = np.stack([describe(features[name], words).numpy() for name in names])

    sfm = StructureFromMotion(images, workspace, options.config.seed, SIFT_IMAGE_SIZE)
    reconstruction = _reconstruct(sfm, names, posed, model, descriptors, options, unregistered)
    built = _assemble(reconstruction, names, features, codebook, descriptors, unregistered, options)
    built = calibrate(built, options.config)
    built.save(output)
    if not options.keep_workspace:
        shutil.rmtree(workspace)
    return BuildSummary(built, len(names))


def _readable_images(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the names of the images in a folder and why others cannot be used."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; --images takes a folder of images")
    names: list[str] = []
    refused: dict[str, str] = {}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in files:
        name = path.relative_to(folder).as_posix()
        try:
            read_gray(path)
        except InputError as error:
            refused[name] = str(error).removeprefix(f"{path}: ")
            continue
        names.append(name)
    if not names:
        raise InputError(
            f"{folder}: holds no image that can be read ({', '.join(sorted(SUFFIXES))})"
        )
    return names, refused


def _workspace(
    output: Path, images: Path, names: Sequence[str], model: Path | None, options: BuildOptions
) -> Path:
    """Return the folder of this build; one that an earlier build left is used if it is the same."""
    if output.is_dir() or not output.parent.is_dir():
        raise InputError(f"{output}: cannot be written; give a file in a folder that exists")
    files = [(name, (images / name).stat().st_size) for name in names]
    poses = (
        [] if model is None else [(str(p.name), p.stat().st_size) for p in sorted(model.iterdir())]
    )
    intent = [files, poses, repr(options.intrinsics), options.config.model_dump(), __version__]
    fingerprint = hashlib.sha256(json.dumps(intent).encode()).hexdigest()
    workspace = output.with_name(output.name + ".build")
    stamp = workspace / "fingerprint"
    if workspace.exists() and (not stamp.exists() or stamp.read_text() != fingerprint):
        shutil.rmtree(workspace)
    workspace.mkdir(exist_ok=True)
    stamp.write_text(fingerprint)
    return workspace


def _extract_features(
    images: Path, names: Sequence[str], workspace: Path, config: LocalizerConfig
) -> dict[str, Features]:
    """Describe every image, or take what an earlier run of this build has left."""
    folder = workspace / "features"
    folder.mkdir(exist_ok=True)
    extractor = FeatureExtractor(config)
    features: dict[str, Features] = {}
    for i, name in enumerate(tqdm(names, desc="dense features", unit="image", disable=None)):
        path = folder / f"{i}.safetensors"
        if not path.exists():
            (found,) = extractor.extract([read_gray(images / name)])
            tensors = {key: getattr(found, key).cpu() for key in Features.__annotations__}
            tensors["descriptors"] = tensors["descriptors"].half()
            with atomic_path(path) as temporary:
                save_file(tensors, temporary)
        loaded = load_file(path)
        loaded["descriptors"] = loaded["descriptors"].float()
        features[name] = Features(**loaded)
    return features


def _sample(features: Mapping[str, Features], seed: int) -> NDArray[np.float32]:
    """Return descriptors of all images, a bounded number of them."""
    each = max(1, CODEBOOK_SAMPLES // len(features))
    generator = np.random.default_rng(seed)
    parts = []
    for item in features.values():
        chosen = generator.permutation(len(item))[:each]
        parts.append(item.descriptors[torch.from_numpy(chosen)].numpy())
    return np.concatenate(parts)


def _pairs(names: Sequence[str], descriptors: NDArray[np.float32]) -> list[tuple[str, str]]:
    """Return which images to match: all, or those alike and those next to each other by name."""
    if len(names) <= EXHAUSTIVE_IMAGES:
        return list(itertools.combinations(names, 2))
    pairs: set[tuple[int, int]] = set()
    for i, similarity in enumerate(descriptors @ descriptors.T):
        alike = np.argsort(-similarity, kind="stable")[: PAIRS_BY_APPEARANCE + 1]
        beside = range(i + 1, min(i + 1 + PAIRS_BY_NAME, len(names)))
        pairs |= {(min(i, int(j)), max(i, int(j))) for j in (*alike, *beside) if int(j) != i}
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def _reconstruct(
    sfm: StructureFromMotion,
    names: Sequence[str],
    posed: Sequence[PosedImage] | None,
    model: Path | None,
    descriptors: NDArray[np.float32],
    options: BuildOptions,
    unregistered: dict[str, str],
) -> pycolmap.Reconstruction:
    """Return poses and points, adding to `unregistered` what got no pose."""
    if posed is not None and model is not None:
        given = read_model(model)
        if len(given.points3D):
            return given
        template = sfm.import_poses(posed)
        sfm.extract(names, options.intrinsics)
        sfm.match(_pairs(names, descriptors))
        return sfm.triangulate(template)
    sfm.extract(names, options.intrinsics)
    sfm.match(_pairs(names, descriptors))
    best, elsewhere = sfm.reconstruct(len(names), options.intrinsics.known is not None)
    registered = {image.name for image in best.images.values() if image.has_pose}
    matched = sfm.verified_matches()
    for name in names:
        if name in registered:
            continue
        if name in elsewhere:
            reason = (
                f"in a separate model of {elsewhere[name]} images that nothing ties to this one"
            )
        elif not matched.get(name):
            reason = "has no verified matches with any other image"
        else:
            reason = f"matches {matched[name]} other images, but too weakly for a pose"
        unregistered[name] = reason
    return best


def _assemble(
    reconstruction: pycolmap.Reconstruction,
    names: Sequence[str],
    features: Mapping[str, Features],
    codebook: NDArray[np.float32],
    descriptors: NDArray[np.float32],
    unregistered: Mapping[str, str],
    options: BuildOptions,
) -> Map:
    """Lift every feature and put the arrays of the map together."""
    images = {image.name: image for image in reconstruction.images.values() if image.has_pose}
    kept = [name for name in names if name in images]
    point_ids = sorted(reconstruction.points3D)
    index_of = {point_id: i for i, point_id in enumerate(point_ids)}
    points = np.array([reconstruction.points3D[i].xyz for i in point_ids]).reshape(-1, 3)
    references, views, seen = [], [], []
    for name in kept:
        image = images[name]
        pose = image.cam_from_world()
        camera = Camera.from_pycolmap(reconstruction.cameras[image.camera_id])
        x, y, z, w = pose.rotation.quat
        transform = Transform.from_quaternion((w, x, y, z), pose.translation)
        references.append(Reference(name, camera, transform))
        observed = [point for point in image.points2D if point.has_point3D()]
        ids = np.array([index_of[point.point3D_id] for point in observed], dtype=np.int32)
        pixels = np.array([point.xy for point in observed], dtype=np.float64).reshape(-1, 2)
        views.append(ReferenceView(camera, transform, pixels, points[ids]))
        seen.append(ids)
    centres = np.array([r.camera_from_map.inverse().translation for r in references])
    origin = np.round(np.median(centres, axis=0))
    infer = GeometricInference()
    lifted = []
    for reference, view in tqdm(list(zip(references, views, strict=True)), desc="lifting", disable=None):
        scale = max(
            1.0, max(view.camera.width, view.camera.height) / options.config.features.max_size
        )
        radius = options.config.lifting.observed_radius * scale
        keypoints = features[reference.name].keypoints.numpy().astype(np.float64)
        lifted.append(lift(view, keypoints, radius, infer))
    chosen = [features[name] for name in kept]
    rows = [list(names).index(name) for name in kept]
    return Map(
        references=references,
        feature_offsets=_offsets([len(item) for item in chosen]),
        keypoints=np.concatenate([item.keypoints.numpy() for item in chosen]),
        descriptors=np.concatenate(
            [item.descriptors.numpy().astype(np.float16) for item in chosen]
        ),
        levels=np.concatenate([item.levels.numpy() for item in chosen]),
        feature_points=np.concatenate(
            [(item.points3d - origin).astype(np.float32) for item in lifted]
        ),
        confidence=np.concatenate([item.confidence.astype(np.float16) for item in lifted]),
        global_descriptors=descriptors[rows].astype(np.float16),
        codebook=codebook,
        point_array=(points - origin).astype(np.float32),
        observation_offsets=_offsets([len(ids) for ids in seen]),
        observation_points=np.concatenate(seen),
        observation_pixels=np.concatenate([v.observations for v in views]).astype(np.float32),
        origin=origin,
        metric=options.metric,
        gravity_aligned=options.gravity_aligned,
        calibration=Calibration(np.zeros((2, 2))),
        unregistered=dict(unregistered),
        meta={
            "program": f"deviloc_ros {__version__}",
            "matcher": options.config.matching.matcher,
            "features": options.config.features.model_dump(),
            "lifting": options.config.lifting.model_dump(),
            "observed_share": float(np.mean(np.concatenate([item.observed for item in lifted]))),
        },
    )


def _offsets(counts: Sequence[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
