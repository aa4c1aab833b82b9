"""A model of COLMAP as a whole: poses by name, and a transform of all of it."""

from __future__ import annotations

import numpy as np
import pycolmap

from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform


def poses_of(model: pycolmap.Reconstruction) -> dict[str, Transform]:
    """Return camera_from_model of every image that has a pose, by its name."""
    return {
        image.name: Transform.from_matrix(
            np.vstack([image.cam_from_world().matrix(), (0.0, 0.0, 0.0, 1.0)])
        )
        for image in model.images.values()
        if image.has_pose
    }


def transform(model: pycolmap.Reconstruction, target_from_model: Similarity) -> None:
    """Bring a model into another frame, in place."""
    rotation = pycolmap.Rotation3d(target_from_model.rotation.as_quat())
    model.transform(
        pycolmap.Sim3d(target_from_model.scale, rotation, target_from_model.translation)
    )
