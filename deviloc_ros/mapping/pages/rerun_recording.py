"""A map as a recording of rerun (https://rerun.io): the same as on the page, for rerun's viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.pages.view_page import CONFIDENCE, LOOK_COLORS, MAX_POINTS, POSE_COLOR
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.tiled_map import TiledMap

NEEDED = "--rerun needs rerun-sdk: pip install 'deviloc_ros[rerun]'"
# Drawn image planes are so far from cameras, as a share of how far cameras are spread.
PLANE_SHARE = 0.02


def write_recording(
    path: Path,
    reference_map: Map,
    poses: Mapping[str, Transform],
    covariances: Mapping[str, NDArray[np.float64]],
    title: str,
) -> None:
    """Write the recording: `map/points`, `map/LOOK/NAME`, `map/tiles`, `run/NAME`.

    Poses of a run are on a timeline `image`, in the order of their names.

    Args:
        path: the .rrd file.
        reference_map: the map.
        poses: camera_from_map of a run's images, by name.
        covariances: (6, 6) of map_from_camera of some of them; positions are drawn as ellipsoids
            that hold 95 %.
        title: names the recording.

    Raises:
        InputError: rerun-sdk is not installed, or the file cannot be written.
    """
    try:
        import rerun as rr
    except ImportError:
        raise InputError(NEEDED) from None
    centres = np.array([r.camera_from_map.inverse().translation for r in reference_map.references])
    plane = PLANE_SHARE * max(float(np.ptp(centres, axis=0).max()), 1e-6)
    with atomic_path(path) as temporary:
        recording = rr.RecordingStream("deviloc_ros", recording_id=title)
        recording.save(temporary)
        if reference_map.gravity_aligned:
            recording.log("map", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        every = max(1, len(reference_map.point_array) // MAX_POINTS)
        points = np.asarray(reference_map.point_array[::every], np.float64) + reference_map.origin
        recording.log("map/points", rr.Points3D(points), static=True)
        looks = list(dict.fromkeys(r.look for r in reference_map.references))
        for r in reference_map.references:
            color = LOOK_COLORS[looks.index(r.look) % len(LOOK_COLORS)]
            entity = rr.new_entity_path(["map", r.look or "images", r.name])
            _log_camera(rr, recording, entity, r.camera_from_map, r.camera, plane, color)
        if isinstance(reference_map, TiledMap):
            bounds = np.array([tile.bounds for tile in reference_map.tiles])
            boxes = rr.Boxes3D(mins=bounds[:, 0], sizes=bounds[:, 1] - bounds[:, 0])
            recording.log("map/tiles", boxes, static=True)
        for number, name in enumerate(sorted(poses)):
            recording.set_time("image", sequence=number)
            entity = rr.new_entity_path(["run", name])
            _log_camera(rr, recording, entity, poses[name], None, plane, POSE_COLOR)
            if name in covariances:
                centre = poses[name].inverse().translation
                _log_ellipsoid(rr, recording, name, centre, covariances[name][:3, :3])
        recording.flush()
        recording.disconnect()


def _log_camera(
    rr: Any,
    recording: Any,
    entity: str,
    camera_from_map: Transform,
    camera: Camera | None,
    plane: float,
    color: str,
) -> None:
    """Draw a camera; one whose lens is not known, or bends too much, has a view of 60 degrees."""
    map_from_camera = camera_from_map.inverse()
    place = rr.Transform3D(
        translation=map_from_camera.translation, quaternion=map_from_camera.quaternion_xyzw
    )
    static = camera is not None
    recording.log(entity, place, static=static)
    width, height = (640, 480) if camera is None else (camera.width, camera.height)
    focal = 0.5 * width / np.tan(np.radians(30))
    if camera is not None:
        corners = camera.rays(np.array([(0.0, height / 2), (float(width), height / 2)]))
        if np.isfinite(corners).all():
            focal = width / float((corners[1, :2] - corners[0, :2])[0])
    recording.log(
        f"{entity}/image",
        rr.Pinhole(
            resolution=[width, height],
            focal_length=float(focal),
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=plane,
            color=[int(color[i : i + 2], 16) for i in (1, 3, 5)],
        ),
        static=static,
    )


def _log_ellipsoid(
    rr: Any, recording: Any, name: str, centre: NDArray[np.float64], covariance: NDArray[np.float64]
) -> None:
    scale, axes = np.linalg.eigh(covariance)
    axes[:, 0] *= np.sign(np.linalg.det(axes))  # a rotation, not a mirror image
    half = np.sqrt(np.maximum(scale, 0) * chi2.ppf(CONFIDENCE, 3))
    recording.log(
        rr.new_entity_path(["uncertainty", name]),
        rr.Ellipsoids3D(
            centers=[centre], half_sizes=[half],
            quaternions=[rr.Quaternion(xyzw=Rotation.from_matrix(axes).as_quat())],
        ),
    )  # fmt: skip
