"""Bring a map into a metric frame whose z points up."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pycolmap
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.similarity_fit import (
    SimilarityFit,
    UnderdeterminedError,
    extents,
    fit_cameras,
    fit_positions,
)
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.map import Map

MIN_IMAGES = 3
MAX_TILT_SIGMA = math.radians(5)
MAX_RELATIVE_RESIDUAL = 0.2
MIRROR_RATIO = 0.3
UPSIDE_DOWN = -0.5
WHY_UPSIDE_DOWN = (
    "the axes are mirrored (x, y, z must be right-handed, such as east, north, up: are x and y "
    "swapped?), or another one points up (--up)"
)
MAX_SPREAD_DEGREES = 0.2
"""20 km: maps are smaller, and metres are seldom so far from their origin for their spread."""
UP_AXES = {
    "x": (1, 0, 0), "y": (0, 1, 0), "z": (0, 0, 1),
    "minus-x": (-1, 0, 0), "minus-y": (0, -1, 0), "minus-z": (0, 0, -1),
}  # fmt: skip


@dataclass(frozen=True)
class MapFit:
    """How a map fits into a frame.

    Attributes:
        target_from_map: the transform.
        names: the images it was found from.
        residuals: (N,) float64, distance of each image's position from the given one, metres.
        inliers: (N,) bool, the images that agree.
    """

    target_from_map: Similarity
    names: tuple[str, ...]
    residuals: NDArray[np.float64]
    inliers: NDArray[np.bool_]


def fit_map_to_positions(reference_map: Map, positions: Mapping[str, ArrayLike]) -> MapFit:
    """Find the transform that brings camera centres to given positions (3,), metres.

    Raises:
        InputError: too few images have a position, their positions lie on one line or nearly so
            that the tilt about it is not held, or they do not fit the map: are mirrored, say, or
            degrees.
    """
    poses = _poses(reference_map)
    names = _common(poses, positions)
    if _look_like_degrees(np.array([positions[name] for name in names], dtype=np.float64)):
        raise InputError(
            "the positions look like latitude and longitude in degrees: give --wgs84, which takes "
            "'name latitude longitude altitude'; if they are metres, give them from a nearer origin"
        )
    source = np.array([poses[name].inverse().translation for name in names])
    target = np.array([np.asarray(positions[name], dtype=np.float64) for name in names])
    try:
        fit = fit_positions(source, target)
    except UnderdeterminedError as error:
        raise InputError(
            f"{error}: that leaves the tilt about it open; give positions off the line, or align "
            "to a COLMAP model, whose orientations hold it"
        ) from None
    if _mirrored(fit, source, target):
        raise InputError(
            "the positions are mirrored against the map: x, y, z must be right-handed, such as "
            "east, north, up; are two axes swapped, or does one point the other way?"
        )
    check_fit(fit, target)
    tilt = _tilt_sigma(fit, target)
    if tilt > MAX_TILT_SIGMA:
        raise InputError(
            f"the positions lie so nearly on a line that they hold the tilt about it only to "
            f"{math.degrees(tilt):.0f} deg; give positions further off it, or align to a COLMAP "
            "model"
        )
    return MapFit(fit.target_from_source, names, fit.residuals, fit.inliers)


def fit_map_to_cameras(reference_map: Map, cameras: Mapping[str, Transform]) -> MapFit:
    """Find the transform that brings the map's images to given poses camera_from_target, metres.

    Raises:
        InputError: too few images have a pose, all are in one place, or they do not fit the map.
    """
    poses = _poses(reference_map)
    names = _common(poses, cameras)
    try:
        fit = fit_cameras([poses[name] for name in names], [cameras[name] for name in names])
    except UnderdeterminedError as error:
        raise InputError(f"the map cannot be aligned: {error}") from None
    check_fit(fit, np.array([cameras[name].inverse().translation for name in names]))
    return MapFit(fit.target_from_source, names, fit.residuals, fit.inliers)


def positions_of_wgs84(
    places: Mapping[str, ArrayLike],
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Return positions east, north, up (3,), metres, of places on the earth, and their origin.

    Args:
        places: latitude and longitude in degrees, altitude above the ellipsoid in metres (3,).

    Returns:
        The positions, and latitude, longitude, altitude (3,) of their origin: the median
        place, to 7 decimals (1 cm).

    Raises:
        InputError: a latitude or longitude that is none.
    """
    for name, place in places.items():
        latitude, longitude, _ = np.asarray(place, dtype=np.float64)
        if abs(latitude) > 90 or abs(longitude) > 180:
            raise InputError(
                f"{name}: latitude {latitude:g}, longitude {longitude:g} is no place on the earth; "
                "expected 'name latitude longitude altitude' in degrees and metres"
            )
    table = np.array(list(places.values()), dtype=np.float64).reshape(-1, 3)
    origin = np.round(np.median(table, axis=0), 7)
    earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
    enu = earth.ellipsoid_to_enu(table, *origin)
    return {name: np.asarray(row) for name, row in zip(places, enu, strict=True)}, origin


def z_up_from(up: str) -> Similarity:
    """Return the rotation that turns an axis of UP_AXES to z.

    Raises:
        InputError: no such axis.
    """
    if up not in UP_AXES:
        raise InputError(f"up axis {up!r} is unknown; use one of {', '.join(UP_AXES)}")
    if up == "minus-z":
        # Opposite to z: half a turn about x, one of many.
        return Similarity(1.0, Rotation.from_rotvec([math.pi, 0, 0]), np.zeros(3))
    axis = np.array(UP_AXES[up], dtype=np.float64)
    turn = np.cross(axis, (0, 0, 1))
    return Similarity(1.0, Rotation.from_rotvec(turn * math.pi / 2), np.zeros(3))


def check_upright(aligned: Map, up: str) -> None:
    """Refuse a map whose images stand on their heads.

    Raises:
        InputError: they do.
    """
    if image_up(aligned)[2] < UPSIDE_DOWN:
        raise InputError(
            f"with {up} as up the map would stand on its head: {WHY_UPSIDE_DOWN}; if the camera "
            f"was mounted upside down, say so by --up {up}"
        )


def image_up(reference_map: Map) -> NDArray[np.float64]:
    """Return the mean direction (3,) that is up in the images, map frame, at most unit length."""
    ups = [r.camera_from_map.rotation.inv().apply((0, -1, 0)) for r in reference_map.references]
    return np.asarray(np.mean(ups, axis=0))


def transform_map(
    reference_map: Map, target_from_map: Similarity, metric: bool, gravity_aligned: bool
) -> Map:
    """Return the map in the target frame: poses, SfM points, feature points.

    Descriptors, pixels and the calibration, which is in pixels and ratios, stay as they are.
    """
    linear = target_from_map.scale * target_from_map.rotation.as_matrix()

    def relative(points: NDArray[np.float32]) -> NDArray[np.float32]:
        # Points are stored relative to the origin, which takes the translation. Where nothing is
        # known of one it is not finite, and stays so.
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(points.astype(np.float64) @ linear.T, dtype=np.float32)

    return replace(
        reference_map,
        references=[
            replace(r, camera_from_map=target_from_map.camera_pose(r.camera_from_map))
            for r in reference_map.references
        ],
        origin=target_from_map.apply(reference_map.origin),
        feature_points=relative(reference_map.feature_points),
        point_array=relative(reference_map.point_array),
        metric=metric,
        gravity_aligned=gravity_aligned,
    )


def _poses(reference_map: Map) -> dict[str, Transform]:
    return {r.name: r.camera_from_map for r in reference_map.references}


def _common(poses: Mapping[str, object], given: Mapping[str, object]) -> tuple[str, ...]:
    names = tuple(sorted(set(poses) & set(given)))
    if len(names) < MIN_IMAGES:
        raise InputError(
            f"{len(names)} of the {len(given)} given names are images of the map, at least "
            f"{MIN_IMAGES} are needed; the map's are named like {next(iter(poses))!r}"
        )
    return names


def check_fit(fit: SimilarityFit, target: NDArray[np.float64]) -> None:
    """Refuse a fit whose residuals are of the size of the scene: names are mixed up, or units."""
    residual = float(np.sqrt(np.mean(fit.residuals[fit.inliers] ** 2)))
    extent = float(extents(target[fit.inliers])[0])
    if residual > MAX_RELATIVE_RESIDUAL * extent:
        raise InputError(
            f"the given positions do not fit the map: {residual:.3g} m off, where they spread over "
            f"{extent:.3g} m; are names and positions those of the same images?"
        )


def _mirrored(fit: SimilarityFit, source: NDArray[np.float64], target: NDArray[np.float64]) -> bool:
    """Return whether the positions' mirror image fits far better than they do.

    Positions in one plane fit as well as their mirror image, turned upside down.
    """
    try:
        mirror = fit_positions(source, target * (-1, 1, 1))
    except UnderdeterminedError:
        return False
    return bool(np.median(mirror.residuals) < MIRROR_RATIO * np.median(fit.residuals))


def _look_like_degrees(target: NDArray[np.float64]) -> bool:
    """Return whether x and y differ in a few decimals only, as those of nearby places do."""
    flat = target[:, :2]
    spread = float(np.ptp(flat, axis=0).max())
    return bool(
        np.abs(flat).max() <= 180
        and spread < MAX_SPREAD_DEGREES
        and float(np.abs(flat).min(axis=0).max()) > 50 * spread
    )


def _tilt_sigma(fit: SimilarityFit, target: NDArray[np.float64]) -> float:
    """Return the standard deviation of the rotation about the positions' longest axis, radians."""
    chosen = target[fit.inliers]
    freedom = 3 * len(chosen) - 7
    sigma = math.sqrt(float((fit.residuals[fit.inliers] ** 2).sum()) / freedom)
    across = math.hypot(*extents(chosen)[1:])
    return sigma / (across * math.sqrt(len(chosen)))
