"""A focal length that ran away is begun anew, and that is said."""

from __future__ import annotations

import logging
from pathlib import Path

import pycolmap
import pytest

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.sfm.colmap_model import model_of
from deviloc_ros.mapping.sfm.focal_lengths import (
    GUESSES,
    are_plausible,
    with_plausible_focal_lengths,
)


def model(share: float, images: int = 3) -> pycolmap.Reconstruction:
    """Return a model whose camera has a focal length, a share of the longer side."""
    camera = Camera("SIMPLE_RADIAL", 640, 480, (640 * share, 320.0, 240.0, 0.0))
    return model_of([PosedImage(f"{i}.jpg", camera, Transform.identity()) for i in range(images)])


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return a database with a camera of unknown focal length and one that EXIF knows."""
    path = tmp_path / "database.db"
    with pycolmap.Database.open(path) as content:
        for known in (False, True):
            camera = pycolmap.Camera.create_from_model_id(
                1 + known, pycolmap.CameraModelId.SIMPLE_RADIAL, 768.0, 640, 480
            )
            camera.has_prior_focal_length = known
            content.write_camera(camera, use_camera_id=True)
    return path


def begun_from(database: Path) -> list[float]:
    with pycolmap.Database.open(database) as content:
        cameras = sorted(content.read_all_cameras(), key=lambda camera: camera.camera_id)
        return [camera.mean_focal_length() / 640 for camera in cameras]


@pytest.mark.parametrize(
    ("share", "plausible"), [(0.1, False), (0.58, True), (1.2, True), (9, False)]
)
def test_what_lenses_have(share: float, plausible: bool) -> None:
    assert are_plausible([model(share)]) is plausible


def test_the_largest_model_counts() -> None:
    assert are_plausible([model(0.1, images=2), model(0.6, images=5)])
    assert not are_plausible([model(0.1, images=5), model(0.6, images=2)])


def test_a_plausible_model_is_kept_as_it_is(database: Path) -> None:
    models = [model(0.6)]
    assert with_plausible_focal_lengths(models, database, pytest.fail) is models
    assert begun_from(database) == [1.2, 1.2]


def test_another_guess_is_tried_until_one_leads_to_a_lens(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = [model(0.56, images=9)]
    tried: list[list[float]] = []

    def again() -> list[pycolmap.Reconstruction]:
        tried.append(begun_from(database))
        return found if len(tried) == 3 else [model(0.05)] if len(tried) == 2 else []

    with caplog.at_level(logging.WARNING):
        assert with_plausible_focal_lengths([model(0.09)], database, again) is found
    # What EXIF knows stays.
    assert tried == [[pytest.approx(share), pytest.approx(1.2)] for share in GUESSES[:3]]
    assert "begun anew from 0.6" in caplog.text
    assert "--camera" in caplog.text


def test_where_none_does_the_first_stays_and_that_is_said(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = [model(0.09)]
    with caplog.at_level(logging.WARNING):
        assert with_plausible_focal_lengths(models, database, lambda: [model(20.0)]) is models
    assert "whatever it was begun from" in caplog.text
