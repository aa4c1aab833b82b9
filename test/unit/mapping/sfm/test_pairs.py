"""Which images of a map are matched with each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.sfm import pairs
from deviloc_ros.mapping.sfm.pairs import choose_pairs, choose_posed_pairs

CAMERA = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))


def descriptors(count: int, seed: int) -> dict[str, torch.Tensor]:
    values = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    unit = torch.nn.functional.normalize(values, dim=1)
    return {f"{i:03}.jpg": item for i, item in enumerate(unit)}


def test_few_images_are_all_matched() -> None:
    found = descriptors(5, 0)
    assert choose_pairs(found) == list(itertools.combinations(sorted(found), 2))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16), count=st.integers(2, 40))
def test_of_many_images_those_alike_and_those_in_a_row(seed: int, count: int) -> None:
    given_images = descriptors(count, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "EXHAUSTIVE_IMAGES", 0)
        patch.setattr(pairs, "PAIRS_BY_APPEARANCE", 2)
        patch.setattr(pairs, "PAIRS_BY_NAME", 1)
        chosen = choose_pairs(given_images)
    assert len(set(chosen)) == len(chosen)
    assert all(first < second for first, second in chosen)
    names = sorted(given_images)
    assert set(itertools.pairwise(names)) <= set(chosen)
    for name in names:
        likeness = {other: float(given_images[name] @ given_images[other]) for other in names}
        del likeness[name]
        most_alike = max(likeness, key=lambda other: likeness[other])
        assert tuple(sorted((name, most_alike))) in chosen


def look(x: float, degrees: float = 0.0) -> PosedImage:
    """Return a camera on the x axis that looks along z, turned about the vertical."""
    map_from_camera = Transform(
        Rotation.from_euler("y", degrees, degrees=True), np.array([x, 0.0, 0.0])
    )
    return PosedImage("", CAMERA, map_from_camera.inverse())


def test_of_given_poses_those_that_can_see_the_same() -> None:
    alike = torch.ones(8) / 8**0.5
    posed = {
        "a": look(0.0),
        "b": look(1.0),
        "same place": look(0.0),
        "turned away": look(1.0, 120.0),
        "other side": look(2.0, -30.0),
        "back to back": look(-50.0, -60.0),
    }
    chosen = choose_posed_pairs(dict.fromkeys(posed, alike), posed)
    assert ("a", "b") in chosen
    assert ("a", "other side") in chosen
    assert ("a", "same place") not in chosen
    assert not any("turned away" in pair and "a" in pair for pair in chosen)
    assert ("a", "back to back") not in chosen
    assert len(set(chosen)) == len(chosen)
    assert all(first < second for first, second in chosen)


def test_of_given_poses_the_most_alike_are_matched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "PAIRS_BY_POSE", 2)
    found = descriptors(12, 0)
    posed = {name: look(0.1 * i) for i, name in enumerate(found)}
    chosen = set(choose_posed_pairs(found, posed))
    for name, item in found.items():
        others = sorted((-float(item @ other), key) for key, other in found.items() if key != name)
        assert {tuple(sorted((name, key))) for _, key in others[:2]} <= chosen
