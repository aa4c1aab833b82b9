"""COLMAP models: cameras, images with poses, and sparse points, as text or binary folders."""

from __future__ import annotations

import codecs
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pycolmap

from deviloc_ros.atomic import atomic_path
from deviloc_ros.datasets.colmap_checks import check_binary, check_text, readable
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform

FILES = ("cameras", "images", "points3D", "rigs", "frames")


@dataclass(frozen=True)
class PosedImage:
    """An image whose camera and pose are known.

    Attributes:
        name: path below the image folder, with forward slashes.
        camera: intrinsics.
        camera_from_map: pose, in the model's frame and units.
    """

    name: str
    camera: Camera
    camera_from_map: Transform


def read_model(folder: Path) -> pycolmap.Reconstruction:
    """Read a COLMAP model; its points may be absent (an empty points3D file, or none at all).

    Binary files win over text files, as in COLMAP. Observations of points that the model does not
    hold are dropped.

    Raises:
        InputError: there is no model in the folder, or a file of it is damaged.
    """
    model = _read(folder)
    for image in model.images.values():
        for index, point in enumerate(image.points2D):
            if point.has_point3D() and point.point3D_id not in model.points3D:
                image.reset_point3D_for_point2D(index)
    return model


def posed_images(folder: Path) -> Sequence[PosedImage]:
    """Read the images of a model that have a pose, ordered by name.

    Raises:
        InputError: as `read_model`; also for a camera that cannot be used, for two images of one
            name, and where no image has a pose.
    """
    model = _read(folder)
    cameras: dict[int, Camera] = {}
    posed: dict[str, PosedImage] = {}
    for image in model.images.values():
        if not image.has_pose:
            continue
        if image.name in posed:
            raise InputError(f"{folder}: two images are named {image.name}")
        if image.camera_id not in cameras:
            try:
                camera = Camera.from_pycolmap(model.cameras[image.camera_id])
            except InputError as error:
                raise InputError(f"{folder}: camera {image.camera_id}: {error}") from None
            cameras[image.camera_id] = camera
        try:
            pose = pose_of(image)
        except InputError as error:
            raise InputError(f"{folder}: {error}") from None
        posed[image.name] = PosedImage(image.name, cameras[image.camera_id], pose)
    if not posed:
        raise InputError(f"{folder}: no image of the COLMAP model has a pose")
    return [posed[name] for name in sorted(posed)]


def write_posed_images(folder: Path, images: Iterable[PosedImage]) -> None:
    """Write cameras and poses as a COLMAP text model without points.

    Raises:
        InputError: the folder cannot be written to, or a name has a space, which COLMAP's text
            format cannot hold.
    """
    camera_ids: dict[Camera, int] = {}
    lines = []
    for image_id, image in enumerate(images, start=1):
        camera_id = camera_ids.setdefault(image.camera, len(camera_ids) + 1)
        if not image.name or len(image.name.split()) != 1:
            raise InputError(f"{folder}: COLMAP's text format cannot hold the name {image.name!r}")
        pose = image.camera_from_map
        numbers = " ".join(repr(float(v)) for v in (*pose.quaternion_wxyz, *pose.translation))
        lines.append(f"{image_id} {numbers} {camera_id} {image.name}\n\n")
    cameras = [f"{camera_id} {camera}\n" for camera, camera_id in camera_ids.items()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from None
    for name, content in (("cameras", cameras), ("images", lines), ("points3D", [])):
        with atomic_path(folder / f"{name}.txt") as path:
            path.write_text("".join(content), encoding="utf-8")


def _read(folder: Path) -> pycolmap.Reconstruction:
    suffix = _find(folder)
    (check_binary if suffix == "bin" else check_text)(folder)
    try:
        files = [folder / f"{name}.{suffix}" for name in FILES]
        there = [path for path in files if path.exists()]
        marked = [path for path in there if suffix == "txt" and _has_byte_order_mark(path)]
        if not marked and folder / f"points3D.{suffix}" in there:
            return pycolmap.Reconstruction(folder)
        with tempfile.TemporaryDirectory(prefix="deviloc-model-") as temporary:
            # A file of no points: empty as text, a count of zero as binary.
            points = b"" if suffix == "txt" else bytes(8)
            (Path(temporary) / f"points3D.{suffix}").write_bytes(points)
            for path in there:
                copy = Path(temporary) / path.name
                if path in marked:
                    copy.write_bytes(path.read_bytes().removeprefix(codecs.BOM_UTF8))
                else:
                    shutil.copy(path, copy)
            return pycolmap.Reconstruction(temporary)
    except (ValueError, IndexError, KeyError, RuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{folder}: its files do not fit together as a COLMAP model ({reason})"
        ) from None


def _has_byte_order_mark(path: Path) -> bool:
    """Return whether a file begins as Windows programs write text, where COLMAP's reader fails."""
    with readable(path), path.open("rb") as file:
        return file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def pose_of(image: pycolmap.Image) -> Transform:
    """Return camera_from_map of an image that has a pose.

    Raises:
        InputError: its camera has none in its rig, or it is no pose of a place.
    """
    try:
        pose = image.cam_from_world()
    except RuntimeError:
        raise InputError(
            f"the camera of {image.name} has no pose in its rig (sensor_from_rig)"
        ) from None
    x, y, z, w = pose.rotation.quat
    try:
        return Transform.from_quaternion((w, x, y, z), pose.translation)
    except InputError as error:
        raise InputError(f"the pose of {image.name}: {error}") from None


def _find(folder: Path) -> str:
    """Return the suffix of the model's files."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a COLMAP model is a folder with cameras.txt")
    for suffix in ("bin", "txt"):
        if all((folder / f"{name}.{suffix}").exists() for name in ("cameras", "images")):
            return suffix
    for inside in ("sparse/0", "sparse", "0"):
        if any((folder / inside / f"images.{suffix}").exists() for suffix in ("bin", "txt")):
            raise InputError(f"{folder}: the COLMAP model lies in {folder / inside}; give that")
    raise InputError(
        f"{folder}: is not a COLMAP model; it needs cameras and images as .bin or .txt"
    )
