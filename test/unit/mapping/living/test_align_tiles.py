"""Tiles move so that images known in two of them agree, and the last closes the loop."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from deviloc_ros.errors import NothingFoundError
from deviloc_ros.geometry.similarity import Similarity
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.living.align_tiles import Tie, solve
from deviloc_ros.mapping.living.frame_fit import InBoth

RNG = np.random.default_rng(3)


def poses(count: int, centre: float) -> list[Transform]:
    """Return camera_from_world of cameras about a place on the x axis."""
    return [
        Transform(Rotation.random(rng=RNG), RNG.normal((centre, 0, 0), 2)).inverse()
        for _ in range(count)
    ]


def in_both(second: list[Transform], first: list[Transform]) -> list[InBoth]:
    return [InBoth(source, target, 0.01) for source, target in zip(second, first, strict=True)]


@pytest.mark.parametrize("rigid", [True, False])
def test_three_tiles_in_a_ring(rigid: bool) -> None:
    wrong = {
        0: Similarity.identity(),
        1: Similarity(1.0 if rigid else 1.05, Rotation.from_rotvec([0, 0, 0.05]), np.full(3, 0.7)),
        2: Similarity(1.0 if rigid else 0.9, Rotation.from_rotvec([0.03, 0, 0]), np.full(3, -0.4)),
    }
    ties = []
    for first, second, centre in ((0, 1, 10.0), (1, 2, 30.0), (0, 2, 50.0)):
        true = poses(12, centre)
        in_second = [wrong[second].camera_pose(pose) for pose in true]
        # An image that was localized elsewhere must not pull.
        in_second[0] = Transform(Rotation.identity(), np.full(3, 90.0))
        in_first = [wrong[first].camera_pose(pose) for pose in true]
        ties.append(Tie(first, second, in_both(in_second, in_first)))
    moves = solve(ties, rigid, depth=8.0)
    spots = RNG.normal((30, 0, 0), 20, (50, 3))
    for number in range(3):
        found = moves[number].apply(wrong[number].apply(spots))
        assert np.linalg.norm(found - spots, axis=1).max() < 0.01
    assert moves[0].scale == 1.0


def test_a_tile_that_nothing_ties_to_the_first_does_not_move() -> None:
    true = poses(5, 0.0)
    assert list(solve([], True, depth=8.0)) == [0]
    assert list(solve([Tie(1, 2, in_both(true, true))], True, depth=8.0)) == [0]


def test_images_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(NothingFoundError, match="tile 2 against tile 1"):
        solve([Tie(0, 1, in_both(poses(8, 0.0), poses(8, 0.0)))], True, depth=8.0)
