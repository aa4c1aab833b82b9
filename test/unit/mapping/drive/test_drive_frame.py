"""A drive's map in metres, z up and on the earth: what odometry and satellite fixes give it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from shared.drive_model import SIGMA, errors, shift_of, simulate

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.mapping.drive.frame import bring_into_frame


def test_fixes_correct_what_odometry_gets_wrong() -> None:
    drive = simulate(100, fixes_per_image=5)
    # One receiver sees a reflection for a while.
    for index in range(40, 60):
        wrong = drive.fixes[index]
        drive.fixes[index] = PositionFix(
            wrong.image, wrong.place + np.array([5e-4, 0, 0]), wrong.sigmas, wrong.from_camera
        )
    frame = bring_into_frame(drive.model, drive.odometry, drive.fixes)
    assert frame.origin is not None
    assert frame.num_left_out >= 20
    assert frame.fix_error == pytest.approx(SIGMA * np.sqrt(2), rel=0.1)
    # Odometry says that every way is 1 % longer than it is.
    assert frame.odometry_scale == pytest.approx(1 / 1.01, abs=0.004)
    off = errors(drive, shift_of(frame.origin))
    # 500 fixes of 2 m: 0.09 m on each axis for the whole, and as much for scale and heading.
    assert np.sqrt(np.mean((off**2).sum(axis=1))) < 0.45
    assert np.linalg.norm(off - off.mean(axis=0), axis=1).max() < 0.5
    up = next(iter(drive.truth.values())).rotation
    [first] = [image for image in drive.model.images.values() if image.name == "0000.png"]
    tilt = (Rotation.from_matrix(first.cam_from_world().rotation.matrix()).inv() * up).apply(
        (0, 0, 1)
    )
    assert np.degrees(np.arccos(tilt[2])) < 0.1


def test_odometry_alone_gives_metres_and_up() -> None:
    drive = simulate(40)
    frame = bring_into_frame(drive.model, drive.odometry)
    assert frame.origin is None
    assert frame.num_odometry == 40
    assert frame.odometry_scale == pytest.approx(1, abs=1e-3)
    found = {image.name: image.projection_center() for image in drive.model.images.values()}
    told = {name: pose.inverse().translation for name, pose in drive.odometry.items()}
    apart = [np.linalg.norm(found[name] - told[name]) for name in told]
    np.testing.assert_allclose(sorted(frame.drift), sorted(apart), atol=0.02)
    way = np.linalg.norm(found["0039.png"] - found["0000.png"])
    true = np.linalg.norm(
        np.subtract(*(drive.truth[n].inverse().translation for n in ("0039.png", "0000.png")))
    )
    assert way / true == pytest.approx(1.01, abs=2e-3)


def test_fixes_that_do_not_give_a_frame_are_told() -> None:
    drive = simulate(12)
    few = bring_into_frame(drive.model, drive.odometry, drive.fixes[:2])
    assert few.origin is None
    assert "at least 3" in few.note
    short = bring_into_frame(drive.model, drive.odometry, drive.fixes)
    assert short.origin is None
    assert "the heading is known to" in short.note


def test_odometry_of_few_images_is_refused() -> None:
    drive = simulate(5)
    with pytest.raises(InputError, match="2 images of the map have odometry"):
        bring_into_frame(drive.model, dict(list(drive.odometry.items())[:2]))
