"""Cameras with fixed places on a rig, as COLMAP has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pycolmap

from deviloc_ros.geometry.mounted_camera import MountedCamera
from deviloc_ros.mapping.sfm.staging import StagedImages


def tell_rig(database: Path, rig: Mapping[str, MountedCamera]) -> None:
    """Write a rig to a database that holds its images.

    Images of one name in the folders of the cameras become one frame, which has one pose. Places of
    cameras stay as they are given.

    Args:
        database: COLMAP's.
        rig: by the name of the folder; the first camera is the rig's frame.
    """
    cameras = []
    for number, (name, item) in enumerate(rig.items()):
        camera = pycolmap.RigConfigCamera(
            image_prefix=f"{StagedImages.name_of(name)}/", ref_sensor=number == 0
        )
        if number:
            place = item.camera_from_rig
            camera.cam_from_rig = pycolmap.Rigid3d(
                pycolmap.Rotation3d(place.rotation.as_quat()), place.translation
            )
        cameras.append(camera)
    with pycolmap.Database.open(database) as opened:
        pycolmap.apply_rig_config([pycolmap.RigConfig(cameras=cameras)], opened)
