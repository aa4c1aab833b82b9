"""Cameras and rigid transforms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import MODEL_NAMES, Camera
from deviloc_ros.geometry.transform import Transform

CAMERAS = [
    "SIMPLE_PINHOLE 640 480 500 320 240",
    "PINHOLE 1536 1024 1379.74 1382.08 760.595 503.655",
    "SIMPLE_RADIAL 640 480 500 320 240 -0.05",
    "RADIAL 640 480 500 320 240 -0.05 0.01",
    "OPENCV 720 1280 917 916 369.7 643.5 0.0578 -0.0805 -0.00098 0.00016",
    "OPENCV_FISHEYE 640 480 300 300 320 240 0.01 -0.002 0.001 0",
    "FULL_OPENCV 640 480 517.3 516.5 319.1 255.8 0.2624 -0.9531 -0.0054 0.0026 1.1633 0 0 0",
]

coordinates = st.floats(-1e3, 1e3, allow_nan=False)
rotation_vectors = st.tuples(*[st.floats(-3, 3)] * 3)
transforms = st.builds(
    lambda vector, translation: Transform(Rotation.from_rotvec(vector), np.array(translation)),
    rotation_vectors,
    st.tuples(coordinates, coordinates, coordinates),
)


def _pixels(camera: Camera) -> NDArray[np.float64]:
    x, y = np.meshgrid(
        np.linspace(0.1, 0.9, 7) * camera.width, np.linspace(0.1, 0.9, 5) * camera.height
    )
    return np.stack([x.ravel(), y.ravel()], axis=1)


@pytest.mark.parametrize("text", CAMERAS)
def test_pixel_to_ray_and_back(text: str) -> None:
    camera = Camera.parse(text)
    pixels = _pixels(camera)
    rays = camera.rays(pixels)
    np.testing.assert_array_equal(rays[:, 2], 1)
    np.testing.assert_allclose(camera.project(7.5 * rays), pixels, atol=1e-4)


@pytest.mark.parametrize("text", CAMERAS)
def test_camera_text_round_trip(text: str) -> None:
    camera = Camera.parse(text)
    assert Camera.parse(str(camera)) == camera
    assert Camera.from_pycolmap(camera.colmap) == camera


@pytest.mark.parametrize("text", CAMERAS)
def test_a_scaled_camera_sees_the_same_rays(text: str) -> None:
    camera = Camera.parse(text)
    half = camera.scaled(camera.width // 2, camera.height // 2)
    pixels = _pixels(camera)
    # COLMAP's convention has the image's corner at (0, 0), so pixels scale without an offset.
    np.testing.assert_allclose(half.rays(pixels / 2), camera.rays(pixels), atol=1e-9)


def test_pinhole_projects_as_written_in_the_book() -> None:
    camera = Camera.parse("PINHOLE 640 480 500 400 320 240")
    np.testing.assert_allclose(camera.project([[1, 2, 4]]), [[320 + 125, 240 + 200]])
    np.testing.assert_array_equal(camera.intrinsics, [[500, 0, 320], [0, 400, 240], [0, 0, 1]])
    assert camera.focal_length == 450


def test_points_behind_the_camera_have_no_pixel() -> None:
    camera = Camera.parse(CAMERAS[1])
    pixels = camera.project([[0, 0, -1], [0, 0, 0], [0, 0, 1]])
    assert np.isnan(pixels[:2]).all()
    np.testing.assert_allclose(pixels[2], [760.595, 503.655])


def test_nothing_to_project() -> None:
    camera = Camera.parse(CAMERAS[0])
    assert camera.project(np.empty((0, 3))).shape == (0, 2)
    assert camera.rays(np.empty((0, 2))).shape == (0, 3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PINHOLE",
        "PINHOLE 640 480",
        "PINHOLE 640 480 500 500 320",
        "PINHOLE 640 480 500 500 320 240 0",
        "PINHOLE 640 x 500 500 320 240",
        "PINHOLE 0 480 500 500 320 240",
        "PINHOLE 640 480 nan 500 320 240",
        "PINHOLE 640 480 -500 -500 320 240",
        "KODAK 640 480 500 500 320 240",
        "INVALID 640 480 500",
    ],
)
def test_what_is_no_camera_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="camera"):
        Camera.parse(text)


def test_the_models_that_robots_use_are_there() -> None:
    assert {"PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"} <= set(MODEL_NAMES)


@given(transforms, transforms, transforms)
def test_transforms_form_a_group(a: Transform, b: Transform, c: Transform) -> None:
    np.testing.assert_allclose((a @ a.inverse()).matrix, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(((a @ b) @ c).matrix, (a @ (b @ c)).matrix, atol=1e-8)
    np.testing.assert_allclose((a @ b).matrix, a.matrix @ b.matrix, atol=1e-9)


@given(transforms, st.tuples(coordinates, coordinates, coordinates))
def test_applying_and_undoing_a_transform(pose: Transform, point: tuple[float, ...]) -> None:
    np.testing.assert_allclose(pose.inverse().apply(pose.apply(point)), point, atol=1e-8)
    homogeneous = pose.matrix @ np.array([*point, 1.0])
    np.testing.assert_allclose(pose.apply(point), homogeneous[:3], atol=1e-8)


@given(transforms)
def test_quaternion_and_matrix_round_trips(pose: Transform) -> None:
    again = Transform.from_quaternion(pose.quaternion_wxyz, pose.translation)
    np.testing.assert_allclose(again.matrix, pose.matrix, atol=1e-12)
    np.testing.assert_allclose(Transform.from_matrix(pose.matrix).matrix, pose.matrix, atol=1e-9)
    np.testing.assert_array_equal(np.roll(pose.quaternion_xyzw, 1), pose.quaternion_wxyz)
    assert pose.quaternion_wxyz[0] >= 0


@given(transforms, transforms, transforms)
def test_distance_does_not_depend_on_the_world_frame(
    a: Transform, b: Transform, world: Transform
) -> None:
    metres, degrees = a.distance_to(b)
    moved_metres, moved_degrees = (world @ a).distance_to(world @ b)
    assert moved_metres == pytest.approx(metres, abs=1e-8)
    # Near zero an angle is known only to the square root of the arithmetic.
    assert moved_degrees == pytest.approx(degrees, abs=1e-5)
    assert b.distance_to(a) == pytest.approx((metres, degrees), abs=1e-5)


def test_distance_is_in_metres_and_degrees() -> None:
    turned = Transform(Rotation.from_euler("z", 30, degrees=True), np.array([3.0, 4.0, 0.0]))
    assert Transform.identity().distance_to(turned) == pytest.approx((5, 30))


def test_a_transform_cannot_be_changed_by_accident() -> None:
    translation = np.zeros(3)
    pose = Transform(Rotation.identity(), translation)
    translation[0] = 1
    assert pose.translation[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        pose.translation[0] = 1
