"""Poses that do not fit the images of a map are noticed when it is built."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from test_consistency import World

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.multiview.consistency import make_consistent
from deviloc_ros.mapping.multiview.epipolar import doubt
from deviloc_ros.maps.map import Map


def built(turned_by: float, wrong: float) -> Map:
    """A map of the world, each of its poses turned by so many degrees about some axis."""
    world = World(3, wrong)
    generator = np.random.default_rng(0)
    before = world.map(0, depth_error=1.2)
    references = []
    for reference in before.references:
        axis = generator.normal(size=3)
        turn = Rotation.from_rotvec(np.deg2rad(turned_by) * axis / np.linalg.norm(axis))
        pose = Transform(turn, np.zeros(3)) @ reference.camera_from_map
        references.append(replace(reference, camera_from_map=pose))
    turned = replace(before, references=references)
    return make_consistent(turned, LocalizerConfig(), world)


@pytest.mark.parametrize("wrong", [0.0, 0.3])
def test_true_poses_are_not_doubted(wrong: float) -> None:
    reference_map = built(0.0, wrong)
    # By chance, a wrong match lies on its line too.
    assert reference_map.meta["epipolar_share"] == pytest.approx(1 - wrong, abs=0.05)
    assert doubt(reference_map) is None


def test_turned_poses_are_doubted_with_the_share_of_matches_that_fit() -> None:
    reference_map = built(2.0, 0.3)
    share = reference_map.meta["epipolar_share"]
    assert share < 0.3
    said = doubt(reference_map)
    assert said is not None
    assert said.startswith(f"only {share:.0%} of the matches")


def test_without_matches_there_is_nothing_to_say() -> None:
    world = World(3, 0.0)
    reference_map = make_consistent(world.map(0, 1.0), LocalizerConfig(), lambda *_: [])
    assert reference_map.meta["epipolar_share"] is None
    assert doubt(reference_map) is None
