"""CameraInfo becomes a Camera that projects as OpenCV and image_geometry do, half a pixel apart."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.messages.camera_info import camera_from_info, rectified_from_camera

K = np.array([[500.0, 0, 319.5], [0, 510.0, 239.5], [0, 0, 1]])
POINTS = np.array([[0.0, 0, 1], [0.3, -0.2, 1], [-0.8, 0.5, 2], [1.0, 0.4, 3]])


def info(**changes):
    message = SimpleNamespace(
        width=640,
        height=480,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=K.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([np.diag([400.0, 400, 1]), np.array([[-40.0], [0], [0]])]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    )
    message.p[2], message.p[6] = 300.0, 200.0
    message.__dict__.update(changes)
    return message


def test_principal_point_moves_by_half_a_pixel():
    camera = camera_from_info(info(), (640, 480))
    assert camera.model == "PINHOLE"
    assert camera.params == (500.0, 510.0, 320.0, 240.0)


@pytest.mark.parametrize(
    ("name", "d", "model"),
    [
        ("plumb_bob", [-0.2, 0.08, 0.001, -0.002], "OPENCV"),
        ("plumb_bob", [-0.2, 0.08, 0.001, -0.002, 0.0], "OPENCV"),
        ("plumb_bob", [-0.2, 0.08, 0.001, -0.002, 0.03], "FULL_OPENCV"),
        (
            "rational_polynomial",
            [0.3, -0.1, 0.001, -0.002, 0.01, 0.5, -0.02, 0.004],
            "FULL_OPENCV",
        ),
        (
            "rational_polynomial",
            [0.3, -0.1, 0.001, -0.002, 0.01, 0.5, -0.02, 0.004, 0.0, 0.0, 0.0, 0.0],
            "FULL_OPENCV",
        ),
        ("", [], "PINHOLE"),
        ("none", [], "PINHOLE"),
        ("radtan", [-0.2, 0.08, 0.001, -0.002], "OPENCV"),
        ("Radial-Tangential", [-0.2, 0.08, 0.001, -0.002], "OPENCV"),
        ("brown_conrady", [0.0] * 5, "PINHOLE"),
        ("plumb_bob", [0.0] * 5, "PINHOLE"),
    ],
)
def test_distortion_agrees_with_opencv(name, d, model):
    camera = camera_from_info(info(distortion_model=name, d=d), (640, 480))
    assert camera.model == model
    expected, _ = cv2.projectPoints(POINTS, np.zeros(3), np.zeros(3), K, np.array(d or [0.0] * 5))
    np.testing.assert_allclose(camera.project(POINTS) - 0.5, expected[:, 0], atol=1e-9)


@pytest.mark.parametrize(
    "name", ["equidistant", "fisheye", "kannala_brandt4", "Kannala-Brandt", "kb4"]
)
def test_equidistant_agrees_with_opencv_fisheye_also_without_coefficients(name):
    for d in ([0.05, -0.01, 0.002, 0.001], [0.0] * 4):
        camera = camera_from_info(info(distortion_model=name, d=d), (640, 480))
        assert camera.model == "OPENCV_FISHEYE"
        rays = POINTS / POINTS[:, 2:]
        expected = cv2.fisheye.distortPoints(rays[None, :, :2], K, np.array(d))[0]
        np.testing.assert_allclose(camera.project(POINTS) - 0.5, expected, atol=1e-9)


def test_rectified_uses_p_and_neither_k_nor_d():
    message = info(d=[-0.2, 0.08, 0.001, -0.002, 0.03])
    camera = camera_from_info(message, (640, 480), rectified=True)
    assert camera.model == "PINHOLE"
    assert camera.params == (400.0, 400.0, 300.5, 200.5)


def test_rectified_is_cut_and_binned_like_the_raw_image():
    roi = SimpleNamespace(x_offset=40, y_offset=60, width=240, height=160)
    camera = camera_from_info(info(roi=roi, binning_x=2, binning_y=2), (120, 80), rectified=True)
    assert camera == Camera("PINHOLE", 120, 80, (200.0, 200.0, 130.25, 70.25))


@pytest.mark.parametrize("name", ["equidistant", "rational_polynomial", "plumb_bob"])
def test_rectified_images_of_any_lens_are_pinhole_images(name):
    d = {"equidistant": [0.1] * 4, "rational_polynomial": [0.1] * 8, "plumb_bob": [0.1] * 5}[name]
    camera = camera_from_info(info(distortion_model=name, d=d), (640, 480), rectified=True)
    assert camera.model == "PINHOLE"


@given(st.integers(0, 200), st.integers(0, 150), st.integers(1, 4), st.integers(1, 4))
def test_a_cut_and_binned_image_shows_points_where_they_are(x, y, bin_x, bin_y):
    roi = SimpleNamespace(x_offset=x, y_offset=y, width=240, height=240)
    whole = camera_from_info(info(d=[-0.2, 0.08, 0.001, -0.002, 0.03]), (640, 480))
    part = camera_from_info(
        info(d=[-0.2, 0.08, 0.001, -0.002, 0.03], roi=roi, binning_x=bin_x, binning_y=bin_y),
        (240 // bin_x, 240 // bin_y),
    )
    np.testing.assert_allclose(
        part.project(POINTS), (whole.project(POINTS) - [x, y]) / [bin_x, bin_y], atol=1e-9
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 320, "height": 240}, ["320 x 240", "640 x 480"]),
        ({"k": np.zeros(9)}, ["not calibrated"]),
        ({"k": np.full(9, np.nan)}, ["not calibrated"]),
        ({"k": np.array([500.0, 3, 320, 0, 500, 240, 0, 0, 1])}, ["skew"]),
        ({"distortion_model": "fancy", "d": [0.1]}, ["fancy", "plumb_bob"]),
        ({"distortion_model": "equidistant", "d": [0.1] * 5}, ["5 coefficients"]),
        ({"distortion_model": "rational_polynomial", "d": [0.1] * 14}, ["rational_polynomial"]),
        ({"distortion_model": "double_sphere", "d": [0.0] * 5}, ["'double_sphere' is unknown"]),
        ({"distortion_model": "inverse_brown_conrady", "d": []}, ["'inverse_brown_conrady'"]),
        ({"distortion_model": "fisheye", "d": []}, ["0 coefficients", "fisheye takes 4"]),
        ({"d": [0.0, 0.0, np.nan, 0.0, 0.0]}, ["D[2] = nan", "not a finite number"]),
        ({"distortion_model": "fisheye", "d": [np.inf] * 4}, ["D[0] = inf"]),
        ({"k": np.array([500.0, 0, np.nan, 0, 500, 240, 0, 0, 1])}, ["has no number", "nan"]),
        ({"binning_x": 2, "binning_y": 2}, ["320 x 240"]),
        (
            {"roi": SimpleNamespace(x_offset=1, y_offset=0, width=640, height=480)},
            ["region of interest", "640 x 480"],
        ),
    ],
)
def test_unusable_calibration_is_told(changes, words):
    with pytest.raises(InputError) as error:
        camera_from_info(info(**changes), (640, 480))
    for word in words:
        assert word in str(error.value)


def test_rectified_without_p_is_told():
    with pytest.raises(InputError, match="in P are 0, 0: not calibrated"):
        camera_from_info(info(p=np.zeros(12)), (640, 480), rectified=True)


def test_rectification_rotation():
    rotation = Rotation.from_euler("y", 3, degrees=True)
    transform = rectified_from_camera(info(r=rotation.as_matrix().ravel()))
    np.testing.assert_allclose(transform.matrix[:3, :3], rotation.as_matrix(), atol=1e-12)
    assert rectified_from_camera(info(r=np.zeros(9))).distance_to(transform)[1] == pytest.approx(3)
    with pytest.raises(InputError, match="not a rotation"):
        rectified_from_camera(info(r=np.full(9, 0.3)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("wrong", [np.inf, np.nan, 1e300])
def test_a_rotation_of_numbers_that_are_none_is_refused_without_a_warning(wrong: float) -> None:
    with pytest.raises(InputError, match="is not a rotation"):
        rectified_from_camera(info(r=np.full(9, wrong)))
