"""Cameras of a reconstruction: what is known before it, and lenses refined after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pycolmap
from PIL import Image

from deviloc_ros.geometry.camera import Camera

# A camera of at least so many images gets a lens and a principal point of its own; fewer do not
# determine them.
MIN_IMAGES = 20


def refine_lenses(model: pycolmap.Reconstruction, may_change_model: bool) -> None:
    """Adjust everything once more, with more of the cameras that are seen often enough free.

    COLMAP estimates a focal length and one coefficient of distortion, and keeps principal points at
    the image's centre, for a single image does not determine more. A shared camera's are
    determined; left wrong, a principal point turns every pose of the map by as many pixels, and
    a lens bends the map by what one coefficient cannot describe.

    Args:
        model: poses, points and cameras, changed in place.
        may_change_model: whether cameras may get a second coefficient of distortion.
    """
    images_of: dict[int, int] = {}
    for image in model.images.values():
        if image.has_pose:
            images_of[image.camera_id] = images_of.get(image.camera_id, 0) + 1
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.images.values():
        if image.has_pose:
            config.add_image(image.image_id)
    often = {camera for camera, count in images_of.items() if count >= MIN_IMAGES}
    if not often:
        return
    if may_change_model:
        for camera_id in often:
            _free(model.cameras[camera_id])
    for camera_id in images_of.keys() - often:
        config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = pycolmap.BundleAdjustmentOptions(refine_principal_point=True)
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()


def _free(camera: pycolmap.Camera) -> None:
    """Give a camera with one coefficient of distortion a second one."""
    if camera.model == pycolmap.CameraModelId.SIMPLE_RADIAL:
        params = [*camera.params, 0.0]
        camera.model = pycolmap.CameraModelId.RADIAL
        camera.params = params


CAMERA_MODES = {
    "all": pycolmap.CameraMode.SINGLE,
    "folder": pycolmap.CameraMode.PER_FOLDER,
    "image": pycolmap.CameraMode.PER_IMAGE,
}
AUTO, FIRST_MODEL = "auto", "SIMPLE_RADIAL"


@dataclass(frozen=True)
class Intrinsics:
    """What is known of the cameras of images without a model.

    Attributes:
        sharing: whether `all` images, those of a `folder`, or no two have one camera (`image`);
            `auto` is `all` where all images have one size, else `image`.
        model: COLMAP camera model to estimate; `auto` is SIMPLE_RADIAL, and in the end RADIAL for
            cameras of many images (lenses.py).
        known: intrinsics of all images, held fixed; None estimates them, from EXIF where it is.
    """

    sharing: str = "auto"
    model: str = AUTO
    known: Camera | None = None

    @property
    def first_model(self) -> str:
        """The model that reconstruction begins with."""
        return FIRST_MODEL if self.model == AUTO else self.model

    def options(
        self, images: Sequence[Path]
    ) -> tuple[pycolmap.CameraMode, pycolmap.ImageReaderOptions]:
        """Return what COLMAP is to be told for these images."""
        reader = pycolmap.ImageReaderOptions(camera_model=self.first_model)
        if self.known is not None:
            reader.camera_model = self.known.model
            reader.camera_params = ",".join(repr(value) for value in self.known.params)
            return pycolmap.CameraMode.SINGLE, reader
        sharing = self.sharing
        if sharing == "auto":
            sharing = "all" if len({_size(path) for path in images}) == 1 else "image"
        return CAMERA_MODES[sharing], reader


def _size(path: Path) -> tuple[int, int]:
    """Return an image's size from its header."""
    with Image.open(path) as image:
        return image.size
