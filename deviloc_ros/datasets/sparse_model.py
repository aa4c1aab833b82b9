"""A sparse model as plain data, to make another one of it: some of its images, renamed, resized.

COLMAP's own model object ties images, rigs, tracks and points together, and offers no way to take
images out of it but to give up points that only one other image sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from numpy.typing import NDArray

from deviloc_ros.datasets.colmap import PosedImage, pose_of
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera


@dataclass(frozen=True)
class ObservingImage:
    """An image of a sparse model.

    Attributes:
        posed: name, intrinsics and pose.
        pixels: (N, 2) float64, where it observes points; the centre of the first pixel is at 0.5.
        points: (N,) int64, the keys of those points.
    """

    posed: PosedImage
    pixels: NDArray[np.float64]
    points: NDArray[np.int64]

    def renamed(self, name: str) -> ObservingImage:
        """Return the same under another name."""
        return replace(self, posed=replace(self.posed, name=name))

    def resized(self, width: int, height: int) -> ObservingImage:
        """Return the same image resized: camera and observations in its new pixels.

        Raises:
            InputError: the sides have another proportion.
        """
        old = self.posed.camera
        camera = old.fitted_to(width, height)
        scale = width / old.width, height / old.height
        return replace(
            self, posed=replace(self.posed, camera=camera), pixels=self.pixels * np.array(scale)
        )


@dataclass(frozen=True)
class SparseModel:
    """Images with poses, and the points that they observe.

    Attributes:
        images: all of them.
        points: (3,) float64 of every point, by key.
    """

    images: Sequence[ObservingImage]
    points: Mapping[int, NDArray[np.float64]]

    def colmap(self) -> pycolmap.Reconstruction:
        """Return the same as COLMAP's object, without the points that no image observes.

        Every image has a frame of its own: rigs are not kept, for poses are given.
        """
        model = pycolmap.Reconstruction()
        ids: dict[Camera, int] = {}
        tracks: dict[int, list[pycolmap.TrackElement]] = {}
        for image_id, image in enumerate(self.images, start=1):
            camera = image.posed.camera
            if camera not in ids:
                ids[camera] = len(ids) + 1
                own = pycolmap.Camera(
                    camera_id=ids[camera],
                    model=camera.model,
                    width=camera.width,
                    height=camera.height,
                    params=list(camera.params),
                )
                model.add_camera_with_trivial_rig(own)
            pose = image.posed.camera_from_map
            model.add_image_with_trivial_frame(
                pycolmap.Image(
                    name=image.posed.name,
                    keypoints=image.pixels.reshape(-1, 2),
                    camera_id=ids[camera],
                    image_id=image_id,
                ),
                pycolmap.Rigid3d(pycolmap.Rotation3d(pose.quaternion_xyzw), pose.translation),
            )
            for index, point in enumerate(image.points.tolist()):
                tracks.setdefault(point, []).append(pycolmap.TrackElement(image_id, index))
        for point, elements in tracks.items():
            model.add_point3D(self.points[point], pycolmap.Track(elements))
        return model


def sparse_model(model: pycolmap.Reconstruction, only: Iterable[str] | None = None) -> SparseModel:
    """Return images of a COLMAP model that have a pose, and all of its points.

    Args:
        model: see `read_model`.
        only: names of the images to take; None: all.

    Raises:
        InputError: a camera cannot be used.
    """
    wanted = None if only is None else set(only)
    cameras: dict[int, Camera] = {}
    images = []
    for image in model.images.values():
        if not image.has_pose or (wanted is not None and image.name not in wanted):
            continue
        if image.camera_id not in cameras:
            try:
                cameras[image.camera_id] = Camera.from_pycolmap(model.cameras[image.camera_id])
            except InputError as error:
                raise InputError(f"camera {image.camera_id} of the model: {error}") from None
        try:
            pose = pose_of(image)
        except InputError as error:
            raise InputError(f"the model: {error}") from None
        observed = [point for point in image.points2D if point.has_point3D()]
        images.append(
            ObservingImage(
                PosedImage(
                    image.name,
                    cameras[image.camera_id],
                    pose,
                ),
                np.array([point.xy for point in observed], dtype=np.float64).reshape(-1, 2),
                np.array([point.point3D_id for point in observed], dtype=np.int64),
            )
        )
    return SparseModel(images, {key: point.xyz for key, point in model.points3D.items()})
