"""A map of sparse features, and localization in it, the way hloc does both.

Sarlin et al., "From Coarse to Fine: Robust Hierarchical Localization at Large Scale", CVPR 2019:
features of map images are matched pair by pair, verified and triangulated with the given poses; a
query is matched with the images that retrieval has chosen, and its pose comes from PnP in RANSAC
over the points that those keypoints have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pycolmap
from lifting.maps import Variant
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import read_gray
from deviloc_ros.mapping.sfm.reconstruction import StructureFromMotion
from peer_ways.sparse import Described, Sparse, described

MIN_INLIERS = 12
MAX_ERROR = 12.0  # pixels, hloc's
SEED = 0


@dataclass(frozen=True)
class SparseMap:
    """Triangulated features.

    Attributes:
        images: features of each map image, by name.
        seen: of each image (N,), which point a keypoint shows, or -1.
        points: (P, 3), the truth's frame.
        centres: (P, 3), the middle of the cameras that see a point.
    """

    images: dict[str, Described]
    seen: dict[str, NDArray[np.int64]]
    points: NDArray[np.float64]
    centres: NDArray[np.float64]

    @property
    def num_bytes(self) -> int:
        """What it takes to keep: descriptors as float16, as hloc keeps them; points as float32."""
        features = sum(
            2 * each.descriptors.size + each.keypoints.nbytes + 4 * len(each.keypoints)
            for each in self.images.values()
        )
        return features + 12 * len(self.points)

    def save(self, path: Path, seconds: float) -> None:
        """Write the map and the CPU-seconds that it took to a .npz file."""
        arrays: dict[str, NDArray[np.generic]] = {
            "points": self.points,
            "centres": self.centres,
            "seconds": np.array(seconds),
            "names": np.array(list(self.images)),
        }
        for i, (name, each) in enumerate(self.images.items()):
            arrays[f"keypoints{i}"], arrays[f"descriptors{i}"] = each.keypoints, each.descriptors
            arrays[f"view{i}"] = np.array([*each.size, each.factor])
            arrays[f"seen{i}"] = self.seen[name]
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: Path) -> tuple[SparseMap, float]:
        """Return what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            images, seen = {}, {}
            for i, name in enumerate(file["names"].tolist()):
                width, height, factor = file[f"view{i}"].tolist()
                size = int(width), int(height)
                keypoints, descriptors = file[f"keypoints{i}"], file[f"descriptors{i}"]
                images[name] = Described(keypoints, descriptors, size, factor)
                seen[name] = file[f"seen{i}"]
            place = SparseMap(images, seen, file["points"], file["centres"])
            return place, float(file["seconds"])

    def changed(self, variant: Variant, seed: int) -> SparseMap:
        """Return the map with fewer points, or points elsewhere; noise is along the ray only."""
        generator = np.random.default_rng(seed)
        along = generator.normal(0, 1, (len(self.points), 1)) * variant.ray_noise
        points = self.points + along * (self.points - self.centres)
        kept = generator.permutation(len(points))[: round(variant.share * len(points))]
        # The last entry is what index -1 reads: no point stays no point.
        there = np.full(len(points) + 1, -1)
        there[kept] = kept
        seen = {name: there[rows] for name, rows in self.seen.items()}
        return replace(self, points=points, seen=seen)


def triangulated(
    sparse: Sparse, folder: Path, posed: Sequence[PosedImage],
    pairs: Sequence[tuple[str, str]], workspace: Path,
) -> tuple[pycolmap.Reconstruction, dict[str, Described]]:  # fmt: skip
    """Match and triangulate the images of a folder; return the model and what was found in them.

    Args:
        sparse: features and matcher.
        folder: of the images.
        posed: their poses and intrinsics.
        pairs: names of images to match.
        workspace: folder for COLMAP's database.
    """
    sfm = StructureFromMotion(folder, workspace, SEED)
    sfm.database.unlink(missing_ok=True)
    sfm.stage([each.name for each in posed])
    template = sfm.import_poses(posed)
    images = {each.name: described(sparse, read_gray(folder / each.name)) for each in posed}
    with pycolmap.Database.open(sfm.database) as database:
        ids = {image.name: image.image_id for image in database.read_all_images()}
        for name, each in images.items():
            database.write_keypoints(ids[name], each.keypoints * each.factor)
        for first, second in pairs:
            rows = np.stack(sparse.match(images[first], images[second]), axis=1)
            database.write_matches(ids[first], ids[second], rows.astype(np.uint32))
    listed = workspace / "pairs.txt"
    listed.write_text("".join(f"{a} {b}\n" for a, b in pairs), encoding="utf-8")
    verification = pycolmap.TwoViewGeometryOptions()
    verification.ransac.random_seed = SEED
    pycolmap.verify_matches(sfm.database, listed, verification)
    return sfm.triangulate(template), images


def build(
    sparse: Sparse, folder: Path, posed: Sequence[PosedImage],
    pairs: Sequence[tuple[str, str]], workspace: Path,
) -> SparseMap:  # fmt: skip
    """Return a map of a folder's images; see triangulated."""
    model, images = triangulated(sparse, folder, posed, pairs, workspace)
    index = {point_id: row for row, point_id in enumerate(sorted(model.points3D))}
    seen = {name: np.full(len(each.keypoints), -1) for name, each in images.items()}
    centres, counts = np.zeros((len(index), 3)), np.zeros((len(index), 1))
    centre_of = {each.name: each.camera_from_map.inverse().translation for each in posed}
    for image in model.images.values():
        for row, point in enumerate(image.points2D):
            if point.has_point3D():
                at = seen[image.name][row] = index[point.point3D_id]
                centres[at] += centre_of[image.name]
                counts[at] += 1
    points = np.array([model.points3D[i].xyz for i in index]).reshape(-1, 3)
    return SparseMap(images, seen, points, centres / np.maximum(counts, 1))


def localize(
    sparse: Sparse, place: SparseMap, image: NDArray[np.uint8], camera: Camera,
    names: Sequence[str],
) -> Transform | None:  # fmt: skip
    """Return camera_from_map of a gray image, or None; it is matched with images of these names."""
    query = described(sparse, image)
    found = [np.zeros((0, 2), np.int64)]
    for name in names:
        rows, others = sparse.match(query, place.images[name])
        points = place.seen[name][others]
        found.append(np.stack([rows, points], axis=1)[points >= 0])
    matches = np.unique(np.concatenate(found), axis=0)
    if len(matches) < MIN_INLIERS:
        return None
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = MAX_ERROR
    options.ransac.random_seed = SEED
    result = pycolmap.estimate_and_refine_absolute_pose(
        query.keypoints[matches[:, 0]] * query.factor,
        place.points[matches[:, 1]],
        pycolmap.Camera(
            model=camera.model, width=camera.width, height=camera.height,
            params=list(camera.params),
        ),
        options,
    )  # fmt: skip
    if result is None or result["num_inliers"] < MIN_INLIERS:
        return None
    pose = result["cam_from_world"]
    return Transform.from_matrix(pose.matrix())
