"""Clusters of references that see the same points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components


def covisibility_clusters(
    references: Sequence[int], observed: Mapping[int, Sequence[int]]
) -> list[list[int]]:
    """Return the connected components of references, where an edge is a common 3D point.

    Args:
        references: image ids, best first.
        observed: image id to the ids of its 3D points; -1 is an observation without a point.

    Returns:
        The clusters, largest first; of equal size the one with the better reference first.
        Within a cluster references keep their order.
    """
    points = [np.unique([point for point in observed[image] if point >= 0]) for image in references]
    images = np.repeat(np.arange(len(references)), [len(ids) for ids in points])
    _, columns = np.unique(np.concatenate([*points, []]), return_inverse=True)
    num_points = int(columns.max(initial=-1)) + 1
    sees = coo_matrix(
        (np.ones(len(images)), (images, columns)), shape=(len(references), num_points)
    ).tocsr()
    _, labels = connected_components(sees @ sees.T, directed=False)
    clusters: dict[int, list[int]] = {}
    for image, label in zip(references, labels, strict=True):
        clusters.setdefault(int(label), []).append(image)
    return sorted(clusters.values(), key=len, reverse=True)
