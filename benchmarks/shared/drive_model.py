"""A drive as COLMAP would have reconstructed it, with the odometry and the fixes of the robot.

The model is synthetic: points along a curved road, seen to half a pixel. It is right but for a
similarity, so that what is wrong with it in a frame is the frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pycolmap
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.position_fix import PositionFix
from deviloc_ros.geometry.transform import Transform
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


def simulate(
    count: int, fixes_per_image: int = 1, seed: int = 0, points_per_image: int = 12
) -> SimulatedDrive:
    """Drive along a curved road with an image every 1.6 m; the model is in a frame of its own.

    Args:
        count: of images.
        fixes_per_image: of the satellite receiver.
        seed: of all noise.
        points_per_image: that come into view with each image; an image sees several times as many.
    """
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
    return SimulatedDrive(truth, told, fixes, _model(truth, places, heading, points_per_image, rng))


def _model(
    truth: dict[str, Transform],
    places: NDArray[np.float64],
    heading: NDArray[np.float64],
    points_per_image: int,
    rng: np.random.Generator,
) -> pycolmap.Reconstruction:
    """Return points along the road as the cameras see them, to half a pixel."""
    model = model_of([PosedImage(name, CAMERA, pose) for name, pose in truth.items()])
    where = rng.integers(0, len(places), points_per_image * len(places))
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
