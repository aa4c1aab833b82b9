"""Focal lengths that structure from motion finds by itself, and what to do if no lens has them.

Where neither the user nor EXIF knows a camera, COLMAP begins with a guess. Where cameras move
forward, or see one plane, a poor guess ends in a focal length that no lens has and in few images,
and a better one finds all of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pycolmap

# Shares of the image's longer side: lenses of 112 to 9 degrees.
PLAUSIBLE = (0.33, 6.0)
# Where to begin if COLMAP's guess, 1.2, leads elsewhere: ever wider lenses, then a longer one.
GUESSES = (1.0, 0.8, 0.6, 2.0)

Models = list[pycolmap.Reconstruction]

_logger = logging.getLogger(__name__)


def with_plausible_focal_lengths(
    models: Models, database: Path, again: Callable[[], Models]
) -> Models:
    """Return models, found again from other focal lengths if those of the largest ran away.

    Args:
        models: at least one.
        database: COLMAP's; cameras of unknown focal length are changed in it.
        again: finds models from what the database says.
    """
    if are_plausible(models):
        return models
    for share in GUESSES:
        guess(database, share)
        found = again()
        if found and are_plausible(found):
            _logger.warning(
                "the focal length ran away to one that no lens has; begun anew from %g of the "
                "image's longer side. Give it with --camera if you know it",
                share,
            )
            return found
    _logger.warning(
        "the focal length ran away to one that no lens has, whatever it was begun from: give it "
        "with --camera, or take images from more sides"
    )
    return models


def are_plausible(models: Sequence[pycolmap.Reconstruction]) -> bool:
    """Whether all cameras of the largest model have focal lengths that a lens has."""
    largest = max(models, key=lambda model: model.num_reg_images())
    used = {image.camera_id for image in largest.images.values() if image.has_pose}
    cameras = [largest.cameras[number] for number in used]
    shares = [camera.mean_focal_length() / max(camera.width, camera.height) for camera in cameras]
    return all(PLAUSIBLE[0] <= share <= PLAUSIBLE[1] for share in shares)


def guess(database: Path, share: float) -> None:
    """Let cameras that nothing is known of begin with this share of the longer side."""
    with pycolmap.Database.open(database) as content:
        for camera in content.read_all_cameras():
            if not camera.has_prior_focal_length:
                params = np.array(camera.params)
                params[list(camera.focal_length_idxs())] = share * max(camera.width, camera.height)
                camera.params = params.tolist()
                content.update_camera(camera)
