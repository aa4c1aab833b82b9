"""Stand-ins for a localizer that look at the images themselves and not at features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform


@dataclass(frozen=True)
class Images:
    """Images in the place of their features."""

    images: Sequence[np.ndarray[Any, Any]]
    cameras: Sequence[Camera]

    def only(self, places: Sequence[int]) -> Images:
        return Images([self.images[i] for i in places], [self.cameras[i] for i in places])


class AtOnce:
    """Has the two steps of a localizer, of whom has `localize` or `localize_rig`."""

    localize: Any
    localize_rig: Any

    def admit(self, images: Sequence[np.ndarray[Any, Any]], cameras: Sequence[Camera]) -> Images:
        return Images(images, cameras)

    def localize_admitted(self, admitted: Images, priors: Sequence[Any] | None = None) -> list[Any]:
        every = zip(
            admitted.images, admitted.cameras, priors or [None] * len(admitted.images), strict=True
        )
        return [self.localize(image, camera, prior) for image, camera, prior in every]

    def localize_admitted_rig(
        self, admitted: Images, base_from_camera: Sequence[Transform], prior: Any = None
    ) -> Any:
        return self.localize_rig(admitted.images, admitted.cameras, base_from_camera, prior)
