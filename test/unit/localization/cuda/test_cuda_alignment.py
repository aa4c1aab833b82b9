"""Alignment as a CUDA device computes it, here by torch on the CPU, finds what the CPU finds."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import planar_map
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.config import LocalizerConfig, build
from deviloc_ros.errors import InputError
from deviloc_ros.localization.cuda import places
from deviloc_ros.localization.cuda.alignment import CudaAligner, smoothing_matrix
from deviloc_ros.localization.cuda.lucas_kanade import COVARIANCE, KEYPOINT, PatchSearch
from deviloc_ros.localization.photometric.aligner import Aligner
from deviloc_ros.localization.photometric.lucas_kanade import SMOOTHING, align_patches
from deviloc_ros.localization.photometric.matches import AlignedMatches
from deviloc_ros.maps.reference import Reference

CPU = torch.device("cpu")


@given(height=st.integers(8, 40), width=st.integers(8, 40), seed=st.integers(0, 1000))
def test_images_are_smoothed_as_by_opencv(height: int, width: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    expected = cv2.GaussianBlur(image, (0, 0), SMOOTHING)
    sums = smoothing_matrix(height) @ image.astype(np.float32) @ smoothing_matrix(width).T
    np.testing.assert_array_equal(np.floor(sums / 256**2 + 0.5), expected)


def test_patches_are_found_where_the_cpu_finds_them() -> None:
    generator = np.random.default_rng(0)
    noise = cv2.GaussianBlur(generator.uniform(0, 255, (120, 150)).astype(np.float32), (0, 0), 2)
    image = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    turned = cv2.warpAffine(image, np.array([[1.02, 0.05, 1.3], [-0.04, 0.98, -0.8]]), (150, 120))
    image[:30, :30] = 7  # nothing to recognise
    count = 300
    middles = generator.uniform(0, (150, 120), (count, 2))  # some reach over the edge
    warps = np.tile([[1.02, 0.05], [-0.04, 0.98]], (count, 1, 1))
    start = middles @ warps[0].T + (1.3, -0.8) + generator.normal(0, 1.5, (count, 2))
    warps[::17] = np.nan
    expected = align_patches(image, turned, middles, start, warps)

    place = generator.integers(0, 2, count)
    images = np.zeros((2, 128, 160), np.uint8)
    images[:, :120, :150] = image
    asked = np.column_stack([middles, start, warps.reshape(-1, 4), place])
    asked = np.concatenate([asked, np.full((5, 9), np.nan)])
    sizes = torch.tensor([[150.0, 120.0]] * 2, dtype=torch.float64)
    query = torch.from_numpy(turned.astype(np.float64))
    search = PatchSearch(CPU)
    found = search(torch.from_numpy(images), sizes, query, torch.from_numpy(asked)).numpy()
    found, padding = found[:count], found[count:]
    assert 100 < np.count_nonzero(expected.correlation) < 280
    np.testing.assert_allclose(found[:, KEYPOINT], expected.keypoints, atol=1e-6)
    np.testing.assert_allclose(
        found[:, COVARIANCE].reshape(-1, 2, 2), expected.covariance, rtol=1e-6, atol=1e-12
    )
    np.testing.assert_allclose(found[:, 6:], np.stack([expected.correlation, expected.gain], 1),
                               atol=1e-9)  # fmt: skip
    assert not padding[:, 2:].any()


def same(found: AlignedMatches, expected: AlignedMatches) -> None:
    """Check that the same matches were found at the same places."""
    assert expected.num_found > 200
    np.testing.assert_array_equal(found.found, expected.found)
    np.testing.assert_allclose(found.matches.keypoints, expected.matches.keypoints, atol=1e-6)
    np.testing.assert_array_equal(found.matches.reference, expected.matches.reference)
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(found.contrast, expected.contrast, atol=1e-9)


@pytest.mark.parametrize("camera", [planar_map.CAMERA, planar_map.LARGER], ids=["as is", "reduced"])
def test_matches_are_aligned_as_on_the_cpu(camera: planar_map.Camera) -> None:
    painted = planar_map.plane()
    board, given_matches = planar_map.place(painted), planar_map.matches(camera, 0.8)
    asked = planar_map.query(camera, painted), planar_map.TRUTH, given_matches
    on_device = CudaAligner(board, planar_map.CONFIG, CPU)
    found = on_device(*asked)
    same(found, Aligner(board, planar_map.CONFIG)(*asked))
    nothing = given_matches.select(np.zeros(0, np.int64))
    several = on_device.of_several([asked, (*asked[:2], nothing), asked])
    assert [len(each.found) for each in several] == [400, 0, 400]
    np.testing.assert_array_equal(several[2].matches.keypoints, found.matches.keypoints)


def test_images_that_do_not_fit_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    painted = planar_map.plane()
    board = replace(planar_map.place(painted), depth_sigma=np.zeros(10, np.float16))
    asked = planar_map.query(planar_map.CAMERA, painted), planar_map.TRUTH
    given_matches = planar_map.matches(planar_map.CAMERA, 0.8)
    whole = CudaAligner(board, planar_map.CONFIG, CPU)
    monkeypatch.setattr(places, "BYTES_PER_MB", 150_000)
    small = build(LocalizerConfig, {"features.max_size": 400, "cuda.memory_mb": 1}, "test")
    one = CudaAligner(board, small, CPU)
    assert (whole.images.places, one.images.places) == (2, 1)
    for aligner in (whole, one):
        aligner.warm_up()
    expected, found = (each(*asked, given_matches) for each in (whole, one))
    np.testing.assert_array_equal(found.matches.keypoints, expected.matches.keypoints)


def test_an_image_larger_than_its_camera_is_named() -> None:
    board = planar_map.place(planar_map.plane())
    camera = replace(planar_map.CAMERA, width=200, height=150)
    references = [Reference(each.name, camera, each.camera_from_map) for each in board.references]
    with pytest.raises(InputError, match=r"0\.png: the image has 400 x 300 pixels"):
        CudaAligner(replace(board, references=references), planar_map.CONFIG, CPU).warm_up()
