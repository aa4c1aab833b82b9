"""What is known of cameras before structure from motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pycolmap
from PIL import Image

from deviloc_ros.geometry.camera import Camera

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
