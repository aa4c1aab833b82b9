"""Which references others can replace."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_map import small_map

from deviloc_ros.errors import InputError
from deviloc_ros.mapping.living.prune import PruneOptions, dropping_order, prune_map
from deviloc_ros.maps.map import Map


def map_that_sees(points: list[list[int]], looks: list[str] | None = None) -> Map:
    """Return a map whose references observe the given points."""
    whole = small_map(0, references=len(points))
    looks = looks or [""] * len(points)
    return replace(
        whole,
        references=[
            replace(r, name=f"{i}.jpg", look=look)
            for i, (r, look) in enumerate(zip(whole.references, looks, strict=True))
        ],
        observation_offsets=np.cumsum([0, *map(len, points)]).astype(np.int64),
        observation_points=np.concatenate(points).astype(np.int32),
        observation_pixels=np.zeros((sum(map(len, points)), 2), dtype=np.float32),
    )


def test_what_nobody_else_sees_stays_longest() -> None:
    whole = map_that_sees([[0, 1, 2], [0, 1, 2], [3, 4, 5], [0, 1, 2]])
    order = dropping_order(whole, {})
    assert sorted(order) == [0, 1, 2, 3]
    # Of three alike two go first; the last of them is then as dear as the one that is alone.
    assert set(order[:2]) < {0, 1, 3}


def test_looks_do_not_replace_each_other() -> None:
    points = [[0, 1, 2], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    order = dropping_order(map_that_sees(points, ["", "", "", "night"]), {})
    assert 3 not in order[:2]


def test_images_that_runs_use_stay() -> None:
    whole = map_that_sees([[0, 1, 2]] * 4)
    assert dropping_order(whole, {"2.jpg": 50, "1.jpg": 1})[-1] == 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (PruneOptions(num_images=4), "has 4 images, no more than the 4"),
        (PruneOptions(num_images=2), "2 images would be left, at least 3"),
        (PruneOptions(target_bytes=10**9), "no more than the 1000 MB"),
        (PruneOptions(target_bytes=10), "0 images would be left"),
    ],
)
def test_goals_that_are_none_are_refused(
    tmp_path: Path, options: PruneOptions, expected: str
) -> None:
    path = tmp_path / "map.devmap"
    map_that_sees([[0, 1, 2]] * 4).save(path)
    with pytest.raises(InputError, match=expected):
        prune_map(path, tmp_path / "small.devmap", options)
    assert not (tmp_path / "small.devmap").exists()
