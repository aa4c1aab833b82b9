"""Errors of XFeat*'s fine offsets on images that are warped copies of each other.

    ./run bench offset_bias IMAGES [--pairs N]

Two views are cut out of a photograph, one of them turned, shifted and scaled by known amounts: no
map, no depth and no pose has a part in what is printed, network pixels of the query, x and y:

* constant and pull: the bias at the image's centre, and what comes to it at the right and lower
  edge (mapping/offset_bias.py), with the standard error;
* middle: the pull of matches of which both keypoints are far from all borders, so that zeros that
  the network pads with hardly reach them;
* gain: by how much of the true offset within the cell the found one grows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.image_folder import list_images
from deviloc_ros.images import read_gray
from deviloc_ros.localization.features import LEVELS, FeatureExtractor
from deviloc_ros.localization.matching.mutual_nearest_neighbours import mutual_nearest_neighbours
from deviloc_ros.localization.types import Features
from deviloc_ros.models.xfeat import FineMatcher, load_xfeat

SIZE = np.array([640, 480])
CENTRE = SIZE / 2
OVERSAMPLING = 2
LARGEST_SHIFT, LARGEST_LOG_SCALE, LARGEST_TURN = 100.0, 0.35, 0.05
NOISE = 2.0  # gray values
BORDER = 96.0  # network pixels
GATE = 5.0
IN_CELL = 3.0
FINE_CONFIDENCE = LocalizerConfig().matching.fine_confidence


def view(
    image: NDArray[np.uint8], image_from_view: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Cut a view out of an image by an affine map (2, 3) between COLMAP's pixel coordinates."""
    fine = image_from_view.copy()
    fine[:, :2] /= OVERSAMPLING
    fine[:, 2] += fine[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV's first pixel is at (0, 0)
    large = cv2.warpAffine(
        image, fine, (OVERSAMPLING * SIZE).tolist(), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    )
    reduced = cv2.resize(large, SIZE.tolist(), interpolation=cv2.INTER_AREA)
    noisy = reduced + rng.normal(0, NOISE, reduced.shape)
    return np.asarray(np.clip(noisy.round(), 0, 255), dtype=np.uint8)


def residuals(
    query: Features, reference: Features, fine: FineMatcher, level: int, turn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, 8): true query and reference pixel, offset found, true offset; network pixels."""
    own, other = query.levels == level, reference.levels == level
    a, b = query.descriptors[own], reference.descriptors[other]
    ((first, second),) = mutual_nearest_neighbours(a, [b])
    offset, confidence = fine(torch.cat([a[first], b[second]], dim=1))
    scale = float(query.scales[own][0])
    keypoints = query.keypoints[own][first].numpy().astype(np.float64)
    seen = reference.keypoints[other][second].numpy().astype(np.float64)
    true = seen @ turn[:, :2].T + turn[:, 2]
    rows = np.hstack([true, seen, offset.numpy() * scale, true - keypoints])
    wrong = np.abs(rows[:, 4:6] - rows[:, 6:]).max(axis=1) > GATE * scale
    return np.asarray(rows[(confidence > FINE_CONFIDENCE).numpy() & ~wrong] / scale)


def robust_fit(
    design: NDArray[np.float64], errors: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients (C,) and their standard errors, wrong matches weighted down."""
    solution: NDArray[np.float64] = np.zeros(design.shape[1])
    for _ in range(20):
        rest = errors - design @ solution
        weight = 1 / (1 + rest**2) ** 2
        normal = design.T @ (weight[:, None] * design)
        solution = np.asarray(np.linalg.solve(normal, design.T @ (weight * errors)))
    spread = np.sqrt(np.diag(np.linalg.inv(normal)) * (weight * rest**2).sum() / weight.sum())
    return solution, np.asarray(spread)


def report(level: int, rows: NDArray[np.float64], scale: float) -> str:
    """Return the lines of one level."""
    half = SIZE / 2 / scale
    to_border = half - np.abs(rows[:, :4].reshape(-1, 2, 2) - half)
    inner = (to_border > BORDER).all(axis=(1, 2))
    error = rows[:, 4:6] - rows[:, 6:]
    lines = [f"level {level}: {len(rows)} matches, {np.count_nonzero(inner)} in the middle"]
    for axis, name in enumerate("xy"):
        place = rows[:, axis] / half[axis] - 1
        design = np.stack([np.ones(len(rows)), place], axis=1)
        (constant, pull), (_, spread) = robust_fit(design, error[:, axis])
        text = f"  {name}: constant {constant:+.2f}, pull {pull:+.3f} +- {spread:.3f}"
        if np.count_nonzero(inner) > 1000:
            (_, middle), (_, spread) = robust_fit(design[inner], error[inner, axis])
            text += f", middle {middle:+.3f} +- {spread:.3f}"
        near = np.abs(rows[:, 6:]).max(axis=1) < IN_CELL
        offsets = np.stack([np.ones(near.sum()), rows[near, 6 + axis]], axis=1)
        (_, gain), _ = robust_fit(offsets, error[near, axis])
        lines.append(f"{text}, gain {1 + gain:.2f}")
    return "\n".join(lines)


def main() -> int:
    """Print the errors on each level."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("images", type=Path, help="folder of photographs, 1200 x 900 or larger")
    parser.add_argument("--pairs", type=int, default=60)
    args = parser.parse_args()
    extractor = FeatureExtractor(LocalizerConfig.model_validate({"device": "cpu"}))
    _, fine = load_xfeat()
    names, rng = list_images(args.images), np.random.default_rng(0)
    rows: list[list[NDArray[np.float64]]] = [[] for _ in LEVELS]
    scales = [1.0 for _ in LEVELS]
    for index in range(args.pairs):
        image = read_gray(args.images / names[index % len(names)])
        margin = np.array(image.shape[::-1]) - SIZE
        corner = margin * rng.uniform(0.3, 0.7, 2)
        angle = rng.uniform(-LARGEST_TURN, LARGEST_TURN)
        size = np.exp(rng.uniform(-LARGEST_LOG_SCALE, LARGEST_LOG_SCALE))
        linear = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        shift = CENTRE - linear @ CENTRE + rng.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2)
        back = np.linalg.inv(linear)
        image_from_reference = np.column_stack([np.eye(2), corner])
        image_from_query = np.column_stack([back, corner - back @ shift])
        reference, query = extractor.extract(
            [view(image, image_from_reference, rng), view(image, image_from_query, rng)]
        )
        turn = np.column_stack([linear, shift])
        for level in range(len(LEVELS)):
            scales[level] = float(query.scales[query.levels == level][0])
            rows[level].append(residuals(query, reference, fine, level, turn))
    for level, parts in enumerate(rows):
        print(report(level, np.concatenate(parts), scales[level]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
