"""Has everything compiled that is compiled at first use, before the first image comes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from deviloc_ros.localization.pipeline import Pipeline
from deviloc_ros.localization.types import Localization, Query


def warm_up(
    pipeline: Pipeline, localize_query: Callable[[Query], Localization], num_images: int
) -> None:
    """Localize noise of the size of the map's first image.

    Args:
        pipeline: the stages.
        localize_query: runs all of them but the first.
        num_images: that a rig takes at once; fewer come when a camera is late.
    """
    if pipeline.config.matching.matcher != "xfeat":
        return
    camera = pipeline.map.references[0].camera
    shape = camera.height, camera.width
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for count in range(num_images, 0, -1):
        found = pipeline.extractor.extract([noise] * count)
    localize_query(Query(found[0], camera, noise))
