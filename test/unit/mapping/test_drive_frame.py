"""A drive's map in metres, z up and on the earth: what odometry and satellite fixes give it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.drive_frame import bring_into_frame
from deviloc_ros.mapping.sfm.colmap_model import model_of
from deviloc_ros.simulation.drive import mounted, odometry

CAMERA = Camera("PINHOLE", 640, 480, (420.0, 420.0, 320.0, 240.0))
PLACE = np.array([52.0, 13.0, 40.0])
ANTENNA = np.array([-0.4, 0.0, 1.9])
SIGMA = 2.0
SECOND = 1_000_000_000


@dataclass(frozen=True)
class SimulatedDrive:
    """Truth in a frame with x east, y north, z up, and what a robot measures of it."""

    truth: dict[str, Transform]
    odometry: dict[str, Transform]
    fixes: list[PositionFix]
    model: pycolmap.Reconstruction


def simulate(count: int, fixes_per_image: int = 1, seed: int = 0) -> SimulatedDrive:
    """Drive along a curved road with an image every 1.6 m; the model is in a frame of its own."""
    rng = np.random.default_rng(seed)
    along = 1.6 * np.arange(count + 25)  # there is something to see beyond the last image
    heading = 0.5 + 0.4 * np.sin(along / 25)
    steps = 1.6 * np.stack([np.cos(heading), np.sin(heading), 0 * heading], axis=1)
    places = np.cumsum(steps, axis=0)
    bases = [
        Transform(Rotation.from_euler("z", h), p)
        for h, p in zip(heading[:count], places[:count], strict=True)
    ]
    measured = odometry([(i * SECOND, base) for i, base in enumerate(bases)], rng)
    mount = mounted()
    names = [f"{i:04d}.png" for i in range(count)]
    truth = {name: (base @ mount).inverse() for name, base in zip(names, bases, strict=True)}
    told = {name: (b @ mount).inverse() for name, (_, b) in zip(names, measured, strict=True)}
    earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
    fixes = []
    offset = mount.inverse().apply(ANTENNA)
    for name, base in zip(names, bases, strict=True):
        for _ in range(fixes_per_image):
            enu = base.apply(ANTENNA) + rng.normal(0, SIGMA, 3)
            place = earth.enu_to_ellipsoid(enu[None], *PLACE)[0]
            fixes.append(PositionFix(name, place, np.full(3, SIGMA), offset))
    return SimulatedDrive(truth, told, fixes, _model(truth, places, heading, rng))


def _model(
    truth: dict[str, Transform],
    places: NDArray[np.float64],
    heading: NDArray[np.float64],
    rng: np.random.Generator,
) -> pycolmap.Reconstruction:
    """Return points along the road as the cameras see them, to half a pixel."""
    model = model_of([PosedImage(name, CAMERA, pose) for name, pose in truth.items()])
    where = rng.integers(0, len(places), 12 * len(places))
    left = np.stack([-np.sin(heading), np.cos(heading), 0 * heading], axis=1)[where]
    across = rng.uniform(4, 9, len(where)) * rng.choice([-1, 1], len(where))
    points = places[where] + left * across[:, None] + rng.uniform(0, 6, len(where))[:, None] * (
        0, 0, 1,
    )  # fmt: skip
    tracks = [pycolmap.Track() for _ in points]
    for image_id, pose in enumerate(truth.values(), start=1):
        in_camera = pose.apply(points)
        with np.errstate(invalid="ignore", divide="ignore"):
            pixels = CAMERA.project(in_camera)
            seen = (in_camera[:, 2] > 1) & (in_camera[:, 2] < 40)
            seen &= ((pixels > 0) & (pixels < (CAMERA.width, CAMERA.height))).all(axis=1)
        chosen = np.nonzero(seen)[0]
        at = pixels[chosen] + rng.normal(0, 0.5, (len(chosen), 2))
        model.image(image_id).points2D = [pycolmap.Point2D(xy) for xy in at]
        for row, index in enumerate(chosen):
            tracks[index].add_element(image_id, row)
    for point, track in zip(points, tracks, strict=True):
        if track.length() >= 3:
            model.add_point3D(point, track)
    turn = pycolmap.Rotation3d(Rotation.from_euler("xyz", [1.0, 0.3, -2.0]).as_quat())
    model.transform(pycolmap.Sim3d(0.037, turn, np.array([3.0, 1.0, -2.0])))
    return model


def errors(drive: SimulatedDrive, shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the errors (N, 3) of camera positions; `shift` is from the map's origin to PLACE's."""
    found = {image.name: image.projection_center() for image in drive.model.images.values()}
    return np.array(
        [found[name] + shift - pose.inverse().translation for name, pose in drive.truth.items()]
    )


def shift_of(origin: NDArray[np.float64]) -> NDArray[np.float64]:
    earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
    return np.asarray(earth.ellipsoid_to_enu(origin[None], *PLACE)[0])


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
