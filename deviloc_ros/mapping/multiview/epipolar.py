"""What epipolar lines between references say of XFeat*'s fine offsets and of the map's poses.

A match must lie on its epipolar line whatever the depth, so that every match tells one component of
the bias; a match of an observed point tells both. Lines of many directions determine it fully. How
many matches keep to their lines tells whether the given poses and intrinsics are right.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.localization.features import LEVELS
from deviloc_ros.mapping.multiview.matching import SeenAgain, triangulate, unbiased
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.offset_bias import OffsetBias, from_centre

# Matches further from their epipolar line are wrong, or their poses are; network pixels.
EPIPOLAR_GATE = 2.5
# Unverified matches of true poses keep to their lines in 48 to 89 % (images 5 m apart on a road,
# images 1 m apart on a street); in 20 to 50 % if each pose is turned by half a degree.
LEAST_SHARE = 0.4


def share_on_epipolar_lines(
    reference_map: Map, seen: Mapping[int, Sequence[SeenAgain]], bias: OffsetBias
) -> float | None:
    """Return the share of matches between references that their poses allow, or None without any.

    Args:
        reference_map: poses, cameras and keypoints; points have no part in it.
        seen: for references by index, what their neighbours see of them.
        bias: of fine offsets.
    """
    errors = [
        triangulate(reference_map, index, again, bias).epipolar_error / again.scale
        for index, found in seen.items()
        for again in found
    ]
    joined = np.concatenate([np.zeros(0), *errors])
    joined = joined[np.isfinite(joined)]
    return float(np.mean(np.abs(joined) < EPIPOLAR_GATE)) if len(joined) else None


def doubt(reference_map: Map) -> str | None:
    """Return what speaks against the poses or intrinsics that a map was made with, if anything."""
    share = reference_map.meta.get("epipolar_share")
    if not isinstance(share, float) or share >= LEAST_SHARE:
        return None
    return (
        f"only {share:.0%} of the matches between images fit the poses and intrinsics (60 to 90 % "
        "are usual): look for wrong time stamps, another frame or another calibration; poses will "
        "be as wrong as those"
    )


# What the constant mostly is with the published weights, network pixels (x, y), and how many
# matches that counts for: cameras that all move in one direction leave a component undetermined.
# Of the pull, whose own scatter decides what is taken of it, that there is none.
USUAL = np.array([-0.98, -1.13])
USUAL_WEIGHT, NO_PULL_WEIGHT = 300.0, 10.0
# Residuals much beyond this are wrong matches; network pixels.
LOSS_SCALE = 1.0
ITERATIONS = 20
# Fewer references do not tell how far their pulls differ.
MIN_REFERENCES = 4


@dataclass(frozen=True)
class Equations:
    """Errors of a reference's matches along directions in the image.

    Attributes:
        design: (N, 4), what the errors change by with the constant and the pull, x and y each.
        errors: (N,), network pixels.
    """

    design: NDArray[np.float64]
    errors: NDArray[np.float64]


def estimate_bias(reference_map: Map, matches: Mapping[int, Sequence[SeenAgain]]) -> OffsetBias:
    """Return the bias of matches.

    Args:
        reference_map: lifted; features of confidence 1 are taken to be where their point is.
        matches: for references by index, what their neighbours see.
    """
    usual = OffsetBias(np.tile(USUAL, (len(LEVELS), 1)), np.zeros((len(LEVELS), 2)))
    found = [
        _solve(
            [
                _of_reference(reference_map, index, [s for s in seen if s.level == level], usual)
                for index, seen in matches.items()
            ]
        )
        for level in range(len(LEVELS))
    ]
    constant, pull = np.array(found).reshape(len(LEVELS), 2, 2).transpose(1, 0, 2)
    return OffsetBias(usual.constant + constant, pull)


def _of_reference(
    reference_map: Map, index: int, found: Sequence[SeenAgain], bias: OffsetBias
) -> Equations:
    """Return what the matches of one reference say of the bias that is left."""
    parts = [item for seen in found for item in _equations(reference_map, index, seen, bias)]
    return Equations(
        np.concatenate([np.zeros((0, 4)), *(part.design for part in parts)]),
        np.concatenate([np.zeros(0), *(part.errors for part in parts)]),
    )


def _equations(
    reference_map: Map, index: int, seen: SeenAgain, bias: OffsetBias
) -> Iterator[Equations]:
    """Return what matches of inferred, then of observed points say."""
    other = reference_map.references[seen.neighbour]
    rows = reference_map.features_of(index)
    observed = reference_map.confidence[rows][seen.feature] == 1.0
    place = from_centre(seen.keypoints, other.camera)

    measured = triangulate(reference_map, index, seen, bias)
    sound = np.isfinite(measured.epipolar_error) & ~observed
    across = measured.across[sound]
    errors = measured.epipolar_error[sound] / seen.scale
    yield Equations(np.hstack([across, across * place[sound]]), errors)

    points = reference_map.feature_points[rows][seen.feature[observed]] + reference_map.origin
    projected = other.camera.project(other.camera_from_map.apply(points))
    both = (unbiased(seen, other.camera, bias)[observed] - projected) / seen.scale
    sound = np.isfinite(both).all(axis=1)
    for axis in np.eye(2):
        design = np.hstack([np.tile(axis, (len(both), 1)), axis * place[observed]])
        yield Equations(design[sound], both[sound] @ axis)


def _solve(of_references: Sequence[Equations]) -> NDArray[np.float64]:
    """Return constant and pull (4,) that explain the errors, wrong matches among them.

    Of the pull only so much is taken as the references agree on: it is multiplied with the share
    of its square that is no sampling variance (James and Stein's estimate, positive part). A
    reference's matches show the same things, so that references are what is counted, by the
    jackknife.
    """
    prior = np.diag([USUAL_WEIGHT, USUAL_WEIGHT, NO_PULL_WEIGHT, NO_PULL_WEIGHT])
    solution: NDArray[np.float64] = np.zeros(4)
    for _ in range(ITERATIONS):
        sums = [_normal_equations(item, solution) for item in of_references]
        normal = prior + sum(a for a, _ in sums)
        right = np.zeros(4) + sum(b for _, b in sums)
        solution = np.asarray(np.linalg.solve(normal, right), dtype=np.float64)
    told = [(a, b) for a, b in sums if a.any()]
    if len(told) < MIN_REFERENCES:
        pull = np.zeros(2)
    else:
        without = np.array([np.linalg.solve(normal - a, right - b)[2:] for a, b in told])
        variance = (len(told) - 1) * without.var(axis=0)
        squared = np.maximum(solution[2:] ** 2, np.finfo(np.float64).tiny)
        pull = solution[2:] * np.maximum(0.0, 1.0 - variance / squared)
    constant = np.linalg.solve(normal[:2, :2], right[:2] - normal[:2, 2:] @ pull)
    return np.concatenate([constant, pull])


def _normal_equations(
    equations: Equations, solution: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the normal matrix (4, 4) and the right side (4,), wrong matches weighted down."""
    squared = ((equations.errors - equations.design @ solution) / LOSS_SCALE) ** 2
    weighted = equations.design / ((1.0 + squared) ** 2)[:, None]
    return weighted.T @ equations.design, weighted.T @ equations.errors
