"""Examples: a view's points, thinned and spoilt as a map's are, and keypoints with true depths."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deviloc_ros.training.views import DenseView, SparseView

# Observations of one view: between these, even on a logarithmic scale.
OBSERVATIONS = (6, 1500)
MAX_CORNERS = 2000
# Maps' images are larger than rendered ones by a factor between these.
MAGNIFICATION = (1.0, 5.0)
# Neighbouring pixels whose depths differ by more than that are of two surfaces, relative.
EDGE = 0.05
# Standard deviation of points along the ray, relative: from a good SfM model's to a bad one's.
RAY_NOISE = (0.0003, 0.03)
EXACT_SHARE = 0.2
# The same sideways, pixels of the map's image.
PIXEL_NOISE = (0.05, 1.5)


@dataclass(frozen=True)
class Example:
    """One view as the inference meets it, and the truth.

    Attributes:
        keypoints: (N, 2) float64, pixels.
        true_depths: (N,) float64.
        observations: (M, 2) float64, pixels.
        depths: (M,) float64.
    """

    keypoints: NDArray[np.float64]
    true_depths: NDArray[np.float64]
    observations: NDArray[np.float64]
    depths: NDArray[np.float64]


def from_dense(view: DenseView, count: int, generator: np.random.Generator) -> Example | None:
    """Make an example of a view with dense depth; None where nothing is to be seen.

    The observations are corners, edges or random pixels, all over or in clusters. A corner at a
    depth edge may have the depth of either side, as a detector's may.
    """
    height, width = view.depth.shape
    has_depth = np.isfinite(view.depth) & (view.depth > 0)
    pool = _detect(view, generator)
    pool = pool[has_depth[pool[:, 1], pool[:, 0]]]
    everywhere = np.argwhere(has_depth)[:, ::-1]
    if len(pool) < OBSERVATIONS[0] or not len(everywhere):
        return None
    if generator.random() < 0.3:
        pool = _clustered(pool, generator)
    wanted = round(float(np.exp(generator.uniform(*np.log(OBSERVATIONS)))))
    order = generator.permutation(len(pool))
    chosen: NDArray[np.int64] = pool[order[:wanted]]
    beside = np.clip(chosen + generator.integers(-1, 2, chosen.shape), 0, (width - 1, height - 1))
    depths, other = (view.depth[at[:, 1], at[:, 0]].astype(np.float64) for at in (chosen, beside))
    # Within a surface a point has its own pixel's depth, or a smooth wall would look rough.
    is_edge = has_depth[beside[:, 1], beside[:, 0]] & (np.abs(other / depths - 1.0) > EDGE)
    depths = np.where(is_edge, other, depths)
    # Keypoints of a matcher prefer texture too: half of them are taken from detections. A map asks
    # for none where a point is observed.
    left = pool[order[wanted:]] if len(pool) > wanted else pool
    detected = left[generator.integers(0, len(left), count // 2)]
    others = everywhere[generator.integers(0, len(everywhere), count - len(detected))]
    at = np.concatenate([detected, others])
    # A pixel's depth is that of its centre.
    observed = chosen.astype(np.float64) + 0.5
    true_depths = view.depth[at[:, 1], at[:, 0]].astype(np.float64)
    example = Example(at.astype(np.float64) + 0.5, true_depths, observed, depths)
    return _spoilt(example, float(generator.uniform(*MAGNIFICATION)), generator)


def from_sparse(view: SparseView, count: int, generator: np.random.Generator) -> Example:
    """Make an example of SfM observations: most are hidden and some of those asked for."""
    order = generator.permutation(len(view.depths))
    kept = max(3, round(len(order) * float(generator.uniform(0.03, 0.5))))
    asked = order[kept:][:count]
    return Example(
        view.pixels[asked], view.depths[asked], view.pixels[order[:kept]], view.depths[order[:kept]]
    )


def _detect(view: DenseView, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return pixels (M, 2), x and y, of one of three detectors."""
    kind = generator.integers(0, 3)
    if kind == 0:
        corners = cv2.goodFeaturesToTrack(view.gray, MAX_CORNERS, 0.005, 2)
        found = np.zeros((0, 2)) if corners is None else corners[:, 0]
    elif kind == 1:
        found = np.argwhere(cv2.Canny(view.gray, 40, 120) > 0)[:, ::-1]
    else:
        height, width = view.gray.shape
        found = generator.uniform((0, 0), (width, height), (MAX_CORNERS, 2))
    return np.asarray(found).astype(np.int64)


def _clustered(pool: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the pixels near a few of them."""
    centres = pool[generator.integers(0, len(pool), generator.integers(1, 6))]
    reach = generator.uniform(15, 60)
    distance = np.linalg.norm(pool[:, None] - centres[None], axis=2).min(axis=1)
    near = pool[distance < reach]
    return near if len(near) >= OBSERVATIONS[0] else pool


def _spoilt(example: Example, magnification: float, generator: np.random.Generator) -> Example:
    """Return the example in a larger image, mirrored or not, with noise and wrong points."""
    depths = example.depths.copy()
    if generator.random() >= EXACT_SHARE:
        noise = np.exp(generator.uniform(*np.log(RAY_NOISE)))
        depths *= np.exp(noise * generator.standard_normal(len(depths)))
    wrong = generator.random(len(depths)) < generator.choice([0.0, 0.0, 0.02, 0.08])
    depths[wrong] *= np.exp(generator.uniform(-0.5, 1.2, int(wrong.sum())))
    scale = np.array([magnification, magnification])
    if generator.random() < 0.5:
        scale[0] *= -1
    sideways = float(np.exp(generator.uniform(*np.log(PIXEL_NOISE))))
    return Example(
        example.keypoints * scale,
        example.true_depths,
        example.observations * scale
        + sideways * generator.standard_normal(example.observations.shape),
        depths,
    )
