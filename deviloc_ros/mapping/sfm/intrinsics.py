"""Cameras of a reconstruction: what is known before it, and lenses refined after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pycolmap

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.mounted_camera import MountedCamera

# A camera of at least so many images gets a lens and a principal point of its own; fewer do not
# determine them.
MIN_IMAGES = 20
# Cameras of a rig that are closer together do not tell how large the place is, metres.
MIN_BASELINE = 0.05


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
        known: intrinsics of all images, held fixed, scaled to images of another size and turned for
            those turned by 90 deg; None estimates them, from EXIF where it is.
        rig: cameras of a rig, and their places, by the name of the folder of their images: images
            of one name in these folders are of one instant. It takes the place of `known`.
    """

    sharing: str = "auto"
    model: str = AUTO
    known: Camera | None = None
    rig: Mapping[str, MountedCamera] = field(default_factory=dict)

    @property
    def are_known(self) -> bool:
        """Whether intrinsics are given, and stay."""
        return self.known is not None or bool(self.rig)

    @property
    def known_cameras(self) -> list[Camera]:
        """The given cameras."""
        if self.rig:
            return [item.camera for item in self.rig.values()]
        return [] if self.known is None else [self.known]

    @property
    def rig_is_metric(self) -> bool:
        """Whether the places of a rig's cameras, which are metres, tell the scale of a map."""
        places = [item.camera_from_rig.inverse().translation for item in self.rig.values()]
        return len(places) > 1 and bool(np.ptp(places, axis=0).max() >= MIN_BASELINE)

    @property
    def first_model(self) -> str:
        """The model that reconstruction begins with."""
        return FIRST_MODEL if self.model == AUTO else self.model

    def known_for(self, name: str, width: int, height: int) -> Camera:
        """Return the known camera of an image of this name and size.

        Raises:
            InputError: the image is neither resized nor turned, but of another camera or cropped,
                or lies in no folder of the rig.
        """
        camera = self.known
        if self.rig:
            folder = name.partition("/")[0]
            if folder not in self.rig:
                raise InputError(f"is in no folder of the rig ({', '.join(self.rig)})")
            camera = self.rig[folder].camera
        assert camera is not None
        try:
            return camera.fitted_to(width, height)
        except InputError:
            turned = camera.turned_to(width, height)
            if turned is None:
                raise
            return turned

    def groups(
        self, sizes: Mapping[str, tuple[int, int]]
    ) -> Iterator[tuple[list[str], pycolmap.CameraMode, pycolmap.ImageReaderOptions]]:
        """Yield what COLMAP is to be told, for images of one kind after the other.

        Args:
            sizes: width and height of every image.

        Raises:
            InputError: an image is not of the known camera.
        """
        if not self.are_known:
            reader = pycolmap.ImageReaderOptions(camera_model=self.first_model)
            sharing = self.sharing
            if sharing == "auto":
                sharing = "all" if len(set(sizes.values())) == 1 else "image"
            yield list(sizes), CAMERA_MODES[sharing], reader
            return
        same: dict[tuple[str, tuple[int, int]], list[str]] = {}
        for name, size in sizes.items():
            folder = name.partition("/")[0] if self.rig else ""
            same.setdefault((folder, size), []).append(name)
        for (_, size), names in same.items():
            camera = self.known_for(names[0], *size)
            reader = pycolmap.ImageReaderOptions(camera_model=camera.model)
            reader.camera_params = ",".join(repr(value) for value in camera.params)
            yield names, pycolmap.CameraMode.SINGLE, reader
