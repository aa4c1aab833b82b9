"""Patches are found to a hundredth of a pixel, with an honest covariance, or not at all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deviloc_ros.localization.photometric.expectation import PIXELS_ALIKE
from deviloc_ros.localization.photometric.lucas_kanade import (
    HALF,
    SMOOTHING,
    AlignedPatches,
    align_patches,
)

SIZE = 200
MIDDLE = np.array([[100.3, 99.6]])


def texture(seed: int, blur: float = 2.0) -> NDArray[np.float64]:
    """Return smooth noise (SIZE, SIZE), so that interpolating it costs little."""
    noise = np.random.default_rng(seed).normal(size=(SIZE, SIZE))
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.asarray(128 + 40 * smooth / smooth.std())


def seen(
    image: NDArray[np.float64], warp: NDArray[np.float64], shift: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the image as seen after p -> warp (p - MIDDLE) + MIDDLE + shift, COLMAP's pixels."""
    middle = MIDDLE[0] - 0.5
    matrix = np.column_stack([warp, middle + shift - warp @ middle])
    return np.asarray(
        cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderValue=128.0)
    )


def gray(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def aligned(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    warp: NDArray[np.float64] | None = None,
    guess: NDArray[np.float64] = MIDDLE,
) -> AlignedPatches:
    warps = np.eye(2)[None] if warp is None else warp[None]
    return align_patches(gray(first), gray(second), MIDDLE, guess, warps)


@given(
    seed=st.integers(0, 1000),
    shift=st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5)),
    turn=st.floats(-0.6, 0.6),
    stretch=st.floats(0.7, 1.4),
    gain=st.floats(0.4, 1.4),
    offset=st.floats(-40, 40),
)
@settings(max_examples=60)
def test_a_shift_is_found_through_turns_scales_and_light(
    seed: int,
    shift: tuple[float, float],
    turn: float,
    stretch: float,
    gain: float,
    offset: float,
) -> None:
    warp = stretch * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    first = 128 + 0.5 * (texture(seed) - 128)
    second = gain * (seen(first, warp, np.array(shift)) - 128) + 128 + offset / 2
    found = aligned(first, second, warp)
    if found.correlation[0] == 0:  # patches of few features may lie beyond reach
        assert np.hypot(*shift) > 1.0
        return
    error = found.keypoints[0] - MIDDLE[0] - shift
    assert np.hypot(*error) < 0.1, error
    assert found.correlation[0] > 0.95
    assert found.gain[0] == pytest.approx(gain, rel=0.15)


def test_the_covariance_is_that_of_many_noisy_images() -> None:
    """Smoothed as the aligner does it, which makes neighbouring pixels err alike."""
    squared, count = 0.0, 0
    for seed in range(150):
        generator = np.random.default_rng(seed)
        first = 128 + 0.4 * (texture(seed) - 128)
        shift = generator.uniform(-0.5, 0.5, 2)
        second = seen(first, np.eye(2), shift)
        noisy = [gray(image + generator.normal(0, 4, image.shape)) for image in (first, second)]
        smooth = [cv2.GaussianBlur(image, (0, 0), SMOOTHING) for image in noisy]
        found = aligned(smooth[0], smooth[1])
        if found.correlation[0] < 0.7:
            continue
        error = found.keypoints[0] - MIDDLE[0] - shift
        squared += error @ np.linalg.solve(found.covariance[0] * PIXELS_ALIKE, error)
        count += 1
    assert count > 100
    assert 0.5 < squared / (2 * count) < 2.0


def test_an_edge_tells_only_the_shift_across_it() -> None:
    ramp = np.clip((np.arange(SIZE) - 99.0) * 20, -60, 60)
    first = np.tile(128 + cv2.GaussianBlur(ramp[None], (0, 0), 1.5), (SIZE, 1))
    first += np.random.default_rng(0).normal(0, 0.7, first.shape)
    found = aligned(first, seen(first, np.eye(2), np.array([0.4, 0.0])))
    assert abs(found.keypoints[0, 0] - MIDDLE[0, 0] - 0.4) < 0.05
    assert found.covariance[0, 1, 1] > 100 * found.covariance[0, 0, 0]


def test_what_is_not_there_is_not_found() -> None:
    first = texture(1)
    assert aligned(first, texture(2)).correlation[0] < 0.7
    flat = np.full((SIZE, SIZE), 100.0)
    assert aligned(flat, flat).correlation[0] == 0
    assert aligned(first, flat).correlation[0] == 0
    negative = 256 - first
    assert aligned(first, negative).correlation[0] == 0


def test_patches_at_the_border_and_beyond_are_left_alone() -> None:
    image = gray(texture(3))
    places = np.array(
        [
            [HALF, 100.0],
            [100.0, SIZE - HALF],
            [-5.0, 20.0],
            [1e9, 1e9],
            [np.nan, 50.0],
            [50.0, 50.0],
        ]
    )
    warps = np.tile(np.eye(2), (len(places), 1, 1))
    inside = np.full_like(places, 100.0)
    for first, second in ((places, inside), (inside, places)):
        found = align_patches(image, image, first, second, warps)
        assert not found.correlation.any()
        np.testing.assert_array_equal(found.keypoints, second)
    assert aligned(texture(3), texture(3)).correlation[0] > 0.99
    warps[:] = np.nan
    assert not align_patches(image, image, inside, inside, warps).correlation.any()
