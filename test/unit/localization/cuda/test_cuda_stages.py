"""Stages of the CUDA backend by themselves, against those of the CPU and of OpenCV."""

from __future__ import annotations

import cv2
import flat_map
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shared.mock_cuda import Log

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.localization.backend import CudaBackend, backend_of
from deviloc_ros.localization.context.search import CpuContextSearch
from deviloc_ros.localization.cuda.context import CudaContextSearch
from deviloc_ros.localization.cuda.matching import CudaMatcher
from deviloc_ros.localization.cuda.resampling import resampling_matrix
from deviloc_ros.localization.cuda.semi_dense import PaddedPairs
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.matching.semi_dense import SemiDenseMatcher
from deviloc_ros.localization.types import Query
from deviloc_ros.maps.map import Map

CONFIG = build(LocalizerConfig, flat_map.SETTINGS, "test")
IMAGES = [flat_map.view(flat_map.pose(0.3, 3.0)), flat_map.view(flat_map.pose(-0.5, -2.0))]


def on_host(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.cpu().numpy())


@given(size=st.integers(2, 90), new_size=st.integers(1, 120), seed=st.integers(0, 1000))
def test_images_are_resampled_as_by_opencv(size: int, new_size: int, seed: int) -> None:
    image = np.random.default_rng(seed).uniform(0, 255, (3, size)).astype(np.float32)
    shrinks = new_size < size
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    expected = cv2.resize(image, (new_size, 3), interpolation=method)
    found = image @ resampling_matrix(size, new_size, shrinks).T
    np.testing.assert_allclose(found, expected, atol=0.05)


def test_features_are_those_of_the_cpu(cuda: Log) -> None:
    expected = FeatureExtractor(CONFIG).extract(IMAGES)
    extractor = CudaBackend(CONFIG, torch.device("cuda")).extractor()
    extractor.extract(IMAGES)
    cuda.clear()
    found = extractor.extract(IMAGES)
    assert not cuda.synchronisations
    for ours, theirs in zip(found, expected, strict=True):
        places = [
            {(*place, level): i for i, (place, level) in enumerate(zip(*values, strict=True))}
            for values in (
                (map(tuple, on_host(each.keypoints).tolist()), on_host(each.levels).tolist())
                for each in (ours, theirs)
            )
        ]
        both = sorted(places[0].keys() & places[1].keys())
        # The least reliable cells may change places where reliabilities are equal to rounding.
        assert len(both) > 0.98 * len(theirs)
        first, second = ([index[key] for key in both] for index in places)
        assert np.abs(
            on_host(ours.descriptors)[first] - on_host(theirs.descriptors)[second]
        ).max() < 3e-2  # fmt: skip
        np.testing.assert_allclose(on_host(ours.scales), on_host(theirs.scales), rtol=1e-6)


def test_matches_and_their_points_are_those_of_the_cpu(board: Map, cuda: Log) -> None:
    (features,) = FeatureExtractor(CONFIG).extract(IMAGES[:1])
    device = torch.device("cuda")
    on_device = type(features)(
        *(getattr(features, name).to(device) for name in type(features).__annotations__)
    )
    references = np.array([3, 0, 2])
    theirs = SemiDenseMatcher(board, CONFIG).match(features, references)
    ours = CudaMatcher(board, CONFIG, device).match(on_device, references)
    expected, found = (
        {(int(f), *np.round(k, 2)) for f, k in zip(each.feature, each.keypoints, strict=True)}
        for each in (theirs, ours)
    )
    # The CPU compares descriptors rounded to 8 bits.
    assert len(expected & found) > 0.85 * len(expected)
    assert (np.diff(np.searchsorted([0, 2, 3], ours.reference)) != 0).sum() == 2
    assert (board.feature_offsets[ours.reference] <= ours.feature).all()
    assert (ours.feature < board.feature_offsets[ours.reference + 1]).all()


@pytest.mark.parametrize("radius", [16.0, 4.0])
def test_guided_matches_are_those_of_the_cpu(board: Map, cuda: Log, radius: float) -> None:
    (features,) = FeatureExtractor(CONFIG).extract(IMAGES[:1])
    device = torch.device("cuda")
    on_device = type(features)(
        *(getattr(features, name).to(device) for name in type(features).__annotations__)
    )
    references, pose = np.array([1, 4]), flat_map.pose(0.3, 3.0).inverse()
    expected = CpuContextSearch(board, CONFIG).near(
        Query(features, flat_map.CAMERA, None), references, pose, radius
    )
    matcher = CudaMatcher(board, CONFIG, device)
    found = CudaContextSearch(board, CONFIG, matcher.stored).near(
        Query(on_device, flat_map.CAMERA, None), references, pose, radius
    )
    for row, (of_query, of_reference) in enumerate(expected):
        ours = pairs(found, row)
        theirs = set(zip(of_query.tolist(), of_reference.tolist(), strict=True))
        assert len(theirs) > 50
        # Of equal similarities another one may win.
        assert len(ours ^ theirs) <= 0.02 * len(theirs)


def pairs(found: PaddedPairs, row: int) -> set[tuple[int, int]]:
    kept = on_host(found.found[row])
    both = on_host(found.query[row])[kept], on_host(found.reference[row])[kept]
    return set(zip(*(each.tolist() for each in both), strict=True))


def test_the_backend_follows_the_device(cuda: Log) -> None:
    assert backend_of(CONFIG).device.type == "cpu"
    for device in ("auto", "cuda"):
        config = build(LocalizerConfig, {"device": device}, "test")
        assert backend_of(config).device.type == "cuda"
