"""Cameras with fixed places are mapped as one rig, whose baseline tells metres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from wall_map import BASE_FROM_CAMERA, CAMERA, map_from_base, view

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.mounted_camera import MountedCamera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import write_image
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics
from deviloc_ros.mapping.sfm.reconstruction import StructureFromMotion
from deviloc_ros.mapping.sfm.sift_settings import SiftSettings

BASELINE = np.array([0.5, 0.0, 0.0])
RIGHT_IN_RIG = Transform(Rotation.from_euler("y", 4, degrees=True), BASELINE)
RIG = {
    "left": MountedCamera(CAMERA, Transform.identity()),
    "right": MountedCamera(CAMERA, RIGHT_IN_RIG.inverse()),
}
COARSE = SiftSettings(max_image_size=480, max_features=1000, first_octave=0)


def test_cameras_of_a_rig_are_mapped_as_one(tmp_path: Path) -> None:
    sizes = {}
    for index, x in enumerate((-1.0, 0.0, 1.0)):
        base = map_from_base(x, yaw=3 * (-1) ** index) @ BASE_FROM_CAMERA
        for name, place in (("left", base), ("right", base @ RIGHT_IN_RIG)):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            write_image(tmp_path / "images" / name / f"{index}.png", view(place))
            sizes[f"{name}/{index}.png"] = (CAMERA.width, CAMERA.height)
    sfm = StructureFromMotion(tmp_path / "images", tmp_path / "work", 0, COARSE)
    assert not sfm.stage(sorted(sizes))
    intrinsics = Intrinsics(rig=RIG)
    assert intrinsics.rig_is_metric
    sfm.import_images(sizes, intrinsics)
    sfm.extract(sorted(sizes))
    sfm.match([(a, b) for a in sizes for b in sizes if a < b])
    model, _ = sfm.reconstruct(len(sizes), intrinsics)
    found = {
        image.name: Transform.from_matrix(image.cam_from_world().matrix()).inverse()
        for image in model.images.values()
        if image.has_pose
    }
    assert len(found) == 6
    assert len(model.frames) == 3
    for index in range(3):
        right_in_left = found[f"left/{index}.png"].inverse() @ found[f"right/{index}.png"]
        metres, degrees = right_in_left.distance_to(RIGHT_IN_RIG)
        assert metres < 1e-6, "the places of cameras stay as they are given"
        assert degrees < 1e-4
    way = np.linalg.norm(found["left/0.png"].translation - found["left/2.png"].translation)
    assert way == pytest.approx(2.0, abs=0.05)


def test_an_image_of_no_camera_of_the_rig_is_refused() -> None:
    intrinsics = Intrinsics(rig=RIG)
    assert intrinsics.known_for("right/a.png", 480, 360) == CAMERA
    with pytest.raises(InputError, match=r"is in no folder of the rig \(left, right\)"):
        intrinsics.known_for("rear/a.png", 480, 360)
