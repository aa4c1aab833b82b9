"""Given poses as a COLMAP model without points, and in COLMAP's database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pycolmap

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform


def model_of(posed: Sequence[PosedImage]) -> pycolmap.Reconstruction:
    """Return a model of images; equal cameras are one."""
    model = pycolmap.Reconstruction()
    camera_ids: dict[Camera, int] = {}
    for image_id, item in enumerate(posed, start=1):
        if item.camera not in camera_ids:
            camera_ids[item.camera] = camera_id = len(camera_ids) + 1
            model.add_camera_with_trivial_rig(_camera(item.camera, camera_id))
        image = pycolmap.Image(name=item.name, camera_id=camera_ids[item.camera], image_id=image_id)
        model.add_image_with_trivial_frame(image, _rigid(item.camera_from_map))
    return model


def write_model(model: pycolmap.Reconstruction, path: Path) -> None:
    """Write a model's cameras and images to a new database, with their ids."""
    with pycolmap.Database.open(path) as database:
        for camera in model.cameras.values():
            database.write_camera(camera, use_camera_id=True)
        for rig in model.rigs.values():
            database.write_rig(rig, use_rig_id=True)
        for frame in model.frames.values():
            database.write_frame(frame, use_frame_id=True)
        for image in model.images.values():
            database.write_image(image, use_image_id=True)


def _camera(camera: Camera, camera_id: int) -> pycolmap.Camera:
    return pycolmap.Camera(
        camera_id=camera_id,
        model=camera.model,
        width=camera.width,
        height=camera.height,
        params=list(camera.params),
        has_prior_focal_length=True,
    )


def _rigid(transform: Transform) -> pycolmap.Rigid3d:
    return pycolmap.Rigid3d(pycolmap.Rotation3d(transform.quaternion_xyzw), transform.translation)
