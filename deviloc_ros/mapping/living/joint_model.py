"""Structure from motion of new images together with those of a map, whose poses are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pycolmap
import torch
from numpy.typing import NDArray

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import image_size
from deviloc_ros.mapping.living.join import Sightings
from deviloc_ros.mapping.living.registration import Registered
from deviloc_ros.mapping.sfm.pairs import choose_pairs
from deviloc_ros.mapping.sfm.reconstruction import StructureFromMotion
from deviloc_ros.mapping.sfm.sift_settings import FINE_SIFT, coarse_sift
from deviloc_ros.mapping.sfm.staging import link
from deviloc_ros.maps.map import Map

# Reprojection errors beyond this many pixels are wrong matches.
LOSS_SCALE = 1.0


@dataclass(frozen=True)
class NewImage:
    """An image that is to come to a map.

    Attributes:
        path: its file.
        camera: intrinsics.
        camera_from_map: its pose, where it is known.
        registered: how it was localized in the map, if it was.
    """

    path: Path
    camera: Camera
    camera_from_map: Transform | None
    registered: Registered | None


class JointModel:
    """COLMAP on new images and on the stored images of the map that they resemble."""

    def __init__(
        self,
        reference_map: Map,
        new: Mapping[str, NewImage],
        folder: Path,
        seed: int,
        refine: bool,
    ) -> None:
        """Take the images; a second run in the same folder takes up where the first one stopped.

        Args:
            reference_map: holds its images.
            new: by name.
            folder: for COLMAP's files.
            seed: of random choices.
            refine: whether poses of new images may be adjusted, and others be found.
        """
        self._map, self._new, self._refine = reference_map, new, refine
        # Plain names, whatever the users' are; numbers keep the order.
        self._staged = {
            name: f"new/{number:06d}{Path(name).suffix}" for number, name in enumerate(sorted(new))
        }
        self.name_of = {staged: name for name, staged in self._staged.items()}
        found = [item.registered.references for item in new.values() if item.registered]
        self._near = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
        self._inputs = folder / "inputs"
        sizes = [(item.camera.width, item.camera.height) for item in new.values()]
        sift = FINE_SIFT if refine else coarse_sift(sizes)
        self._sfm = StructureFromMotion(self._inputs, folder, seed, sift)
        self._held: dict[str, PosedImage] = {}

    def run(
        self, descriptors: Mapping[str, torch.Tensor]
    ) -> tuple[pycolmap.Reconstruction, dict[str, str]]:
        """Return the model, its new images under their own names, and why images are not in it.

        Args:
            descriptors: global descriptors of the new images by name, which choose the pairs.
        """
        refused: dict[str, str] = {}
        self._place_files()
        for staged, why in self._sfm.stage([*self._held, *self._staged.values()]).items():
            if staged in self.name_of:
                refused[self.name_of[staged]] = why
        names = [name for name in sorted(self._new) if name not in refused]
        some_pose = Transform.identity()
        posed = [
            PosedImage(
                self._staged[name], self._new[name].camera,
                self._new[name].camera_from_map or some_pose,
            )
            for name in names
        ]  # fmt: skip
        unposed = [self._staged[name] for name in names if self._new[name].camera_from_map is None]
        template = self._sfm.import_poses([*self._held.values(), *posed], unposed)
        self._sfm.extract([*self._held, *(item.name for item in posed)])
        self._sfm.match(self._pairs(descriptors, names))
        model = self._sfm.triangulate(template)
        if self._refine:
            if unposed:
                model = self._sfm.register(model)
            self._adjust(model)
            model = self._sfm.triangulate(model)
        refused |= self._without_pose(model, names)
        for image in model.images.values():
            # No path below a folder begins with a slash: the map's images are nobody else's.
            image.name = self.name_of.get(image.name, f"/{image.name}")
        return model, refused

    def sightings(
        self, model: pycolmap.Reconstruction, point_index: Mapping[int, int]
    ) -> Sightings:
        """Return which of the model's points the map's references see.

        Args:
            model: of `run`.
            point_index: index of each of its points by id.
        """
        points: dict[int, NDArray[np.int32]] = {}
        pixels: dict[int, NDArray[np.float64]] = {}
        images = {image.name: image for image in model.images.values()}
        for index in self._near:
            staged = _map_name(int(index))
            if f"/{staged}" not in images:
                continue
            full, small = self._map.references[index].camera, self._held[staged].camera
            seen = [point for point in images[f"/{staged}"].points2D if point.has_point3D()]
            points[int(index)] = np.array(
                [point_index[point.point3D_id] for point in seen], dtype=np.int32
            )
            at = np.array([point.xy for point in seen], dtype=np.float64).reshape(-1, 2)
            pixels[int(index)] = at * (full.width / small.width, full.height / small.height)
        return Sightings(points, pixels)

    def _place_files(self) -> None:
        """Put links to new images, and the stored ones of the map, into the folder of inputs."""
        for kind in ("new", "map"):
            (self._inputs / kind).mkdir(parents=True, exist_ok=True)
        for name, staged in self._staged.items():
            target = self._inputs / staged
            if not target.exists():
                target.unlink(missing_ok=True)
                link(self._new[name].path.absolute(), target)
        assert self._map.image_offsets is not None
        assert self._map.image_bytes is not None
        for index in self._near:
            staged = _map_name(int(index))
            begin, end = self._map.image_offsets[index : index + 2]
            path = self._inputs / staged
            if not path.exists():
                with atomic_path(path) as temporary:
                    temporary.write_bytes(np.asarray(self._map.image_bytes[begin:end]).tobytes())
            reference = self._map.references[index]
            # A reduced side is rounded: the camera is scaled by the true ratio of each.
            camera = reference.camera.scaled(*image_size(path))
            self._held[staged] = PosedImage(staged, camera, reference.camera_from_map)

    def _pairs(
        self, descriptors: Mapping[str, torch.Tensor], names: Sequence[str]
    ) -> list[tuple[str, str]]:
        """Return which images to match: new ones with each other, and with references like them."""
        among = choose_pairs({self._staged[name]: descriptors[name] for name in names})
        across = [
            (_map_name(int(index)), self._staged[name])
            for name in names
            if (registered := self._new[name].registered) is not None
            for index in registered.references
        ]
        return [*across, *among]

    def _adjust(self, model: pycolmap.Reconstruction) -> None:
        """Adjust the poses of new images and all points; the map's images and cameras stay.

        A localized image's position has a prior: it stays with its localization by as much as that
        is certain, so that images without matches across the light do not drift.
        """
        config = pycolmap.BundleAdjustmentConfig()
        priors = []
        for image in model.images.values():
            if not image.has_pose:
                continue
            config.add_image(image.image_id)
            if image.name in self._held:
                config.set_constant_rig_from_world_pose(image.frame_id)
                continue
            registered = self._new[self.name_of[image.name]].registered
            if registered is not None:
                priors.append(
                    pycolmap.PosePrior(
                        corr_data_id=image.data_id,
                        position=registered.camera_from_map.inverse().translation,
                        position_covariance=registered.position_covariance,
                        coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
                    )
                )
        for camera_id in model.cameras:
            config.set_constant_cam_intrinsics(camera_id)
        options = pycolmap.BundleAdjustmentOptions(print_summary=False)
        options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
        options.ceres.loss_function_scale = LOSS_SCALE
        adjuster = pycolmap.create_pose_prior_bundle_adjuster(
            options, pycolmap.PosePriorBundleAdjustmentOptions(), config, priors, model
        )
        adjuster.solve()

    def _without_pose(self, model: pycolmap.Reconstruction, names: Sequence[str]) -> dict[str, str]:
        registered = {image.name for image in model.images.values() if image.has_pose}
        matched = self._sfm.verified_matches()
        reasons = {}
        for name in names:
            staged = self._staged[name]
            if staged not in registered:
                count = matched.get(staged, 0)
                reasons[name] = (
                    f"matches {count} other new images, but too weakly for a pose"
                    if count
                    else "has no verified matches with any other new image"
                )
        return reasons


def _map_name(index: int) -> str:
    return f"map/{index:06d}.jpg"
