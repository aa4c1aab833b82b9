"""Which features of a reference other images of the place do not show again.

A landmark that one image alone shows is none: structure from motion drops tracks of one view for
the same reason. If neighbours look at a feature's place and none of them finds it, a query that
matches it has most likely matched something else, however well its depth may be known.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.maps.map import Map

# A reference keeps all its features if fewer than this share of them would be left.
LEAST_SHARE = 0.1


def not_found_again(
    reference_map: Map,
    index: int,
    neighbours: NDArray[np.int64],
    support: NDArray[np.int64],
    confidence: NDArray[np.float16],
) -> NDArray[np.bool_]:
    """Return which features of a reference should not be used.

    Args:
        reference_map: lifted.
        index: the reference.
        neighbours: (M,) the references that its features were looked for in.
        support: (N,) how many of them saw a feature where its depth says.
        confidence: (N,) of the features' depths; 1 where an SfM point was observed.

    Returns:
        (N,): those that lie in the view of a neighbour, were found in none, and are not at an SfM
        point, which other images have seen. None at all where too few features would be left.
    """
    in_view = _in_view(reference_map, index, neighbours)
    missed = np.asarray((support == 0) & (confidence < 1) & in_view)
    left = np.count_nonzero(confidence[~missed])
    return missed if left >= LEAST_SHARE * len(missed) else np.zeros_like(missed)


def _in_view(reference_map: Map, index: int, neighbours: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which features (N,) of a reference have a lifted point that a neighbour looks at."""
    points = reference_map.feature_points[reference_map.features_of(index)] + reference_map.origin
    seen = np.zeros(len(points), dtype=np.bool_)
    for neighbour in neighbours:
        other = reference_map.references[neighbour]
        in_camera = other.camera_from_map.apply(points)
        with np.errstate(invalid="ignore"):
            pixels = other.camera.project(in_camera)
            inside = (pixels > 0) & (pixels < (other.camera.width, other.camera.height))
            seen |= inside.all(axis=1) & (in_camera[:, 2] > 0)
    return seen
