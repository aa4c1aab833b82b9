"""The calibration of a map to which references came."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.mapping.covariance_calibration import MIN_POSES, covariance_scale, shared_error
from deviloc_ros.mapping.multiview.leave_one_out import LeftOut
from deviloc_ros.mapping.self_calibration import aligning, plain_xfeat
from deviloc_ros.maps.map import Map


def recalibrate(
    extended: Map,
    config: LocalizerConfig,
    lifted_alone: Map,
    left_out: LeftOut,
    queries: NDArray[np.int64],
) -> Map:
    """Return the map with covariances that are large enough for its new references too.

    They are measured as in a new map (self_calibration.py), with new references as queries: these
    had no part in the depths of the old ones. What is smaller than before stays as before, for the
    old references are still there. The bias of offsets is the old map's.

    Args:
        extended: the map.
        config: of the localizer.
        lifted_alone: the map before depths of the new references were fused.
        left_out: depths without each of the queries.
        queries: indices of new references.
    """
    xfeat = plain_xfeat(config)
    calibration = extended.calibration
    plain = aligning(xfeat, False)
    scale, num_poses = covariance_scale(lifted_alone, queries, plain)
    if num_poses >= MIN_POSES:
        scale = max(scale, calibration.covariance_scale)
        calibration = replace(calibration, covariance_scale=scale)
    shared, num_poses = shared_error(extended, queries, aligning(xfeat, True), left_out)
    if num_poses >= MIN_POSES:
        shared = max(shared, calibration.aligned_shared_error)
        calibration = replace(calibration, aligned_shared_error=shared)
    return extended.with_calibration(calibration)
