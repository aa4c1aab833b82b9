"""Shapes at full size, on torch's `meta` device, which computes nothing else."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.cuda import semi_dense
from deviloc_ros.localization.cuda.features import CudaFeatureExtractor
from deviloc_ros.localization.cuda.lucas_kanade import ASKED_SIZE, PatchSearch
from deviloc_ros.localization.cuda.places import num_places
from deviloc_ros.localization.cuda.semi_dense import SemiDense
from deviloc_ros.localization.cuda.stored_references import StoredReferences
from deviloc_ros.maps.map import Map
from deviloc_ros.models.topicfm.at_once import coarse_matches_at_once
from deviloc_ros.models.topicfm.matcher import TopicFM

META = torch.device("meta")
CONFIG = LocalizerConfig()
FEATURES = CONFIG.features.num_keypoints
MATCHES = CONFIG.matching.num_matches


def of(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*size, dtype=dtype, device=META)


def features(*batch: int) -> tuple[Tensor, ...]:
    """Return keypoints, descriptors, scales and levels of images."""
    return (
        of(*batch, FEATURES, 2), of(*batch, FEATURES, 64), of(*batch, FEATURES),
        of(*batch, FEATURES, dtype=torch.uint8),
    )  # fmt: skip


def shapes(values: tuple[Tensor, ...]) -> list[tuple[int, ...]]:
    return [tuple(each.shape) for each in values]


def matching_with(board: Map) -> SemiDense:
    """Return matching with references of as many features as a query has."""
    counts = np.full(len(board.references), FEATURES)
    large = replace(board, feature_offsets=np.cumsum([0, *counts]))
    stored = StoredReferences(large, META, num_places(large, CONFIG), 0.3)
    return SemiDense(stored, board.calibration, CONFIG)


def test_features_of_a_batch_of_images() -> None:
    extractor = CudaFeatureExtractor(CONFIG, META)
    found = extractor._described(of(4, 1024, 1536, dtype=torch.uint8))
    assert shapes(found) == shapes(features(4))
    assert [each.dtype for each in found] == [each.dtype for each in features(4)]


def test_matches_of_a_query_and_of_a_batch(board: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    # The one operation that has no shapes without values: it keeps them.
    monkeypatch.setattr(semi_dense, "rounded", lambda descriptors: descriptors)
    compute = matching_with(board)
    places = of(5, dtype=torch.int64)
    assert shapes(compute.of_query(*features(), of(2), places)) == [(5, MATCHES, 13)]
    pairs = of(80, dtype=torch.int64), of(80, dtype=torch.int64)
    assert shapes(compute.of_queries(*features(16), of(16, 1, 2), *pairs)) == [(80, MATCHES, 13)]


def test_patches_of_a_query() -> None:
    images = of(30, 696, 1032, dtype=torch.uint8), of(30, 2, dtype=torch.float64)
    asked = of(CONFIG.alignment.num_matches, ASKED_SIZE, dtype=torch.float64)
    found = PatchSearch(META)(*images, of(683, 1024, dtype=torch.float64), asked)
    assert (tuple(found.shape), found.dtype) == ((len(asked), 8), torch.float64)


def test_topicfm_of_a_query_with_five_references(monkeypatch: pytest.MonkeyPatch) -> None:
    # It does not know this device.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    network = TopicFM().to(META).eval()
    coarse, fine = network.backbone(of(1, 1, 576, 864))
    assert shapes((coarse, fine)) == [(1, 256, 72, 108), (1, 128, 288, 432)]
    cells = 72 * 108
    masks = of(cells, dtype=torch.bool), of(cells, dtype=torch.bool)
    found = coarse_matches_at_once(of(5, cells, 256), of(5, cells, 256), masks, 0.2)
    assert shapes(found) == [(5, cells), (5, cells), (5, cells), (5,)]
