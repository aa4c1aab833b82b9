"""Which references a prior leaves in, and how many are chosen."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from small_map import CAMERA, small_map

from deviloc_ros.config import RetrievalConfig
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.cuda.retrieval import CudaRetrieval
from deviloc_ros.localization.retrieval.global_descriptor import make_codebook
from deviloc_ros.localization.retrieval.ranking import Retrieval
from deviloc_ros.localization.types import Features, PosePrior
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

ALONG_X = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
"""map_from_camera of a camera that looks along the map's x axis."""


def camera_at(x: float, z: float = 0.0, degrees: float = 0.0) -> Transform:
    turn = Rotation.from_euler("z", degrees, degrees=True)
    return Transform(turn * ALONG_X, np.array([x, 0.0, z]))


def street(turned_back: bool = False) -> Map:
    """A map with a reference every 10 m; with turned_back, every second one looks back."""
    result = small_map(references=12)
    result.references[:] = [  # type: ignore[index]
        Reference(
            str(i),
            CAMERA,
            camera_at(10.0 * i, degrees=180.0 * (turned_back and i % 2)).inverse(),
        )
        for i in range(12)
    ]
    return result


def chosen(reference_map: Map, prior: PosePrior | None, num_references: int = 12) -> list[int]:
    config = RetrievalConfig(num_references=num_references, prior_reach=12.0, cluster=False)
    descriptors = torch.from_numpy(np.random.default_rng(1).normal(size=(8, 64))).float()
    features = Features(torch.zeros(8, 2), descriptors, torch.ones(8), torch.zeros(8))
    device = torch.device("cpu")
    clusters = Retrieval(reference_map, config, device)(features, prior)
    # As a CUDA device chooses them.
    there = CudaRetrieval(reference_map, config, device, graphs=False)(features, prior)
    assert [each.tolist() for each in there] == [each.tolist() for each in clusters]
    return sorted(int(index) for cluster in clusters for index in cluster)


def test_without_a_prior_every_reference_counts() -> None:
    assert chosen(street(), None) == list(range(12))


@pytest.mark.parametrize(("sigma", "expected"), [(0.0, [4, 5, 6]), (2.5, [3, 4, 5, 6, 7])])
def test_references_beyond_the_reach_and_the_gate_are_left_out(
    sigma: float, expected: list[int]
) -> None:
    assert chosen(street(), PosePrior(camera_at(50.0), sigma, 0.01)) == expected


def test_an_unknown_height_does_not_open_the_plane() -> None:
    raised = camera_at(50.0, z=30.0)
    assert chosen(street(), PosePrior(raised, 0.0, 0.01)) == []
    assert chosen(street(), PosePrior(raised, 0.0, 0.01, vertical_sigma=10.0)) == [4, 5, 6]


def test_references_that_look_elsewhere_are_left_out_while_the_heading_is_known() -> None:
    back_and_forth = street(turned_back=True)
    assert chosen(back_and_forth, PosePrior(camera_at(50.0), 2.5, 0.01)) == [4, 6]

    assert chosen(back_and_forth, PosePrior(camera_at(50.0), 2.5, np.pi)) == [3, 4, 5, 6, 7]


def test_a_good_prior_needs_fewer_references() -> None:
    near = PosePrior(camera_at(50.0), 2.5, 0.01, num_references=2)
    assert len(chosen(street(), near)) == 2
    assert set(chosen(street(), near)) <= {3, 4, 5, 6, 7}
    assert len(chosen(street(), PosePrior(camera_at(50.0), 2.5, 0.01), num_references=4)) == 4


def test_a_codebook_of_few_descriptors_has_unit_words_and_says_nothing() -> None:
    """Most words are nearest to no descriptor, of which scipy would warn people."""
    descriptors = np.repeat(np.eye(64, dtype=np.float32)[:3], 40, axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        words = make_codebook(descriptors, 0)
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-6)
