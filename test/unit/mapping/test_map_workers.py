"""A map is the same whoever computes it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from wall_map import BASE_FROM_CAMERA, CAMERA, SETTINGS, map_from_base

from deviloc_ros.cluster.workers import Item, Prepare, Result, open_workers
from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.mapping.build import BuildOptions, build_map
from deviloc_ros.maps.map import Map
from deviloc_ros.simulation import wall

CONFIG = build(
    LocalizerConfig,
    {**SETTINGS, "features.num_keypoints": 512, "features.backend": "torch"},
    "test",
)


class OtherProcesses:
    """Does as Ray does, in this process: each worker gets copies, and items come as they may."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.titles: list[str | None] = []

    def map(
        self, prepare: Prepare[Item, Result], items: Sequence[Item], title: str | None
    ) -> Iterator[Result]:
        self.titles.append(title)
        sent = pickle.dumps(prepare)
        workers: list[Callable[[Item], Result]] = [
            pickle.loads(sent)() for _ in range(min(self.count, len(items)))
        ]
        results = {}
        for number in reversed(range(len(items))):
            item = pickle.loads(pickle.dumps(items[number]))
            results[number] = pickle.dumps(workers[number % self.count](item))
        yield from (pickle.loads(results[number]) for number in range(len(items)))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    poses = [
        map_from_base(float(x), yaw=float(8 * (-1) ** i)) @ BASE_FROM_CAMERA
        for i, x in enumerate(np.linspace(-2, 0, 5))
    ]
    return wall.write_map_images(poses, CAMERA, tmp_path_factory.mktemp("wall"))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Compute as workers do: sums of several threads differ in the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def alone(photographs: tuple[Path, Path]) -> Map:
    """Return the map that this process makes."""
    return build_wall(photographs, BuildOptions(config=CONFIG, metric=True))


def build_wall(photographs: tuple[Path, Path], options: BuildOptions) -> Map:
    images, model = photographs
    return build_map(images, images.parent / "wall.devmap", model, options).map


def assert_same(first: Map, second: Map) -> None:
    for name in (*Map.ARRAYS, *Map.NEWER_ARRAYS):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name), err_msg=name)
    assert first.calibration.to_json() == second.calibration.to_json()
    assert first.meta == second.meta


def test_a_map_is_the_same_from_two_workers(photographs: tuple[Path, Path], alone: Map) -> None:
    workers = OtherProcesses(2)
    options = BuildOptions(config=CONFIG, metric=True, workers=workers)
    assert_same(build_wall(photographs, options), alone)
    assert set(workers.titles) == {
        "dense features", "lifting", "images", "matching references", "measuring depths",
        "fusing depths", "offset bias", "covariance",
    }  # fmt: skip


def test_a_map_is_the_same_from_a_ray_cluster(photographs: tuple[Path, Path], alone: Map) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'deviloc_ros[ray]')")
    options = BuildOptions(config=CONFIG, metric=True)
    with open_workers("2") as workers:
        assert_same(build_wall(photographs, replace(options, workers=workers)), alone)
