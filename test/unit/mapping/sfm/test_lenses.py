"""Cameras that many images share get a lens and a principal point of their own."""

from __future__ import annotations

import numpy as np
import pycolmap
import pytest

from deviloc_ros.mapping.sfm.intrinsics import MIN_IMAGES, refine_lenses

# f, cx, cy, k1, k2: a telephone's, off its image's centre.
TRUE = np.array([917.0, 369.5, 643.5, 0.058, -0.08])
CENTRE = (360.0, 640.0)


def reconstruction(images: int) -> pycolmap.Reconstruction:
    """Return a model of images of one camera, as COLMAP leaves it that knows too few parameters."""
    pycolmap.set_random_seed(0)
    options = pycolmap.SyntheticDatasetOptions(
        num_rigs=1, num_cameras_per_rig=1, num_frames_per_rig=images, num_points3D=300,
        num_points2D_without_point3D=0, camera_width=720, camera_height=1280,
        camera_model_id=pycolmap.CameraModelId.RADIAL, camera_params=TRUE.tolist(),
    )  # fmt: skip
    model = pycolmap.synthesize_dataset(options)
    (camera,) = model.cameras.values()
    camera.model = pycolmap.CameraModelId.SIMPLE_RADIAL
    camera.params = [925.0, *CENTRE, 0.0]
    return model


def test_a_lens_that_many_images_share_is_found() -> None:
    model = reconstruction(MIN_IMAGES)
    refine_lenses(model, may_change_model=True)
    (camera,) = model.cameras.values()
    assert camera.model == pycolmap.CameraModelId.RADIAL
    np.testing.assert_allclose(camera.params[:3], TRUE[:3], atol=0.05)
    np.testing.assert_allclose(camera.params[3:], TRUE[3:], atol=1e-3)
    model.update_point_3d_errors()
    assert model.compute_mean_reprojection_error() < 0.01


def test_a_lens_that_few_images_share_stays() -> None:
    model = reconstruction(MIN_IMAGES - 1)
    refine_lenses(model, may_change_model=True)
    (camera,) = model.cameras.values()
    assert camera.model == pycolmap.CameraModelId.SIMPLE_RADIAL
    np.testing.assert_allclose(camera.params, [925.0, *CENTRE, 0.0])


@pytest.mark.parametrize(
    ("name", "params", "may_change"),
    [
        ("SIMPLE_RADIAL", [925.0, *CENTRE, 0.0], False),
        ("OPENCV", [925.0, 925.0, *CENTRE, *[0.0] * 4], True),
    ],
)
def test_a_model_that_the_user_chose_stays(
    name: str, params: list[float], may_change: bool
) -> None:
    model = reconstruction(MIN_IMAGES)
    (camera,) = model.cameras.values()
    camera.model = getattr(pycolmap.CameraModelId, name)
    camera.params = params
    refine_lenses(model, may_change)
    assert camera.model_name == name
    # Its principal point is free all the same.
    assert not np.allclose([camera.principal_point_x, camera.principal_point_y], CENTRE, atol=1.0)
