"""Aligned matches of a rig, and the pose of the base that they give; see ../photometric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.covariance import CELLS
from deviloc_ros.localization.photometric.aligner import Align
from deviloc_ros.localization.photometric.matches import decisive
from deviloc_ros.localization.photometric.pose import (
    LIGHT_PARTS,
    LOSS_SCALE,
    PARTS,
    SharedError,
    Uncertainty,
    aligned_covariance,
    light_error_of,
)
from deviloc_ros.localization.rig.matches import gather
from deviloc_ros.localization.rig.pose import refine_rig
from deviloc_ros.localization.types import Correspondences, Query


def aligned_rig_pose(
    align: Align,
    queries: Mapping[int, Query],
    near: Sequence[tuple[int, Correspondences]],
    base_from_map: Transform,
    base_from_camera: Sequence[Transform],
    max_size: int,
    uncertainty: Uncertainty,
) -> tuple[Transform, NDArray[np.float64] | None]:
    """Return base_from_map of aligned matches, and the covariance of map_from_base.

    Args:
        align: moves the matches of one camera.
        queries: the cameras' images, by index.
        near: index of a camera, and those of its matches that agree with the pose, not merged.
        base_from_map: about where the base is.
        base_from_camera: where the cameras sit.
        max_size: longer side of a larger image's working size, pixels.
        uncertainty: of the map.
    """
    cameras: list[Camera] = [queries[index].camera for index, _ in near]
    places = [base_from_camera[index] for index, _ in near]
    aligned = decisive(
        align.of_several(
            [
                (queries[index], place.inverse() @ base_from_map, matches)
                for place, (index, matches) in zip(places, near, strict=True)
            ]
        )
    )
    together = gather(
        [(i, item.matches) for i, item in enumerate(aligned)],
        cameras,
        places,
        max_size,
        [item.whitening for item in aligned],
    )
    pose = refine_rig(together, base_from_map, LOSS_SCALE)
    residuals, derivative = together.linearise(pose, together.lens(pose))
    assert together.whitening is not None
    groups = together.places(CELLS), together.reference
    shared = (
        SharedError(
            together.places(PARTS),
            np.concatenate([uncertainty.shared_error_of(item) for item in aligned]),
        ),
        SharedError(
            together.places(LIGHT_PARTS), np.concatenate([light_error_of(item) for item in aligned])
        ),
    )
    covariance = aligned_covariance(
        derivative, residuals, together.whitening, together.confidence, groups,
        shared, uncertainty.factor,
    )  # fmt: skip
    return pose, None if covariance is None else covariance.total
