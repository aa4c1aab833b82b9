"""Descriptors in 8 bits: nothing is lost to coarse matching, little to the rest."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deviloc_ros.maps.descriptor_codes import STEPS_PER_UNIT, decoded, encoded, rounded

within_range = st.floats(-127 / STEPS_PER_UNIT, 127 / STEPS_PER_UNIT, width=32)


@given(arrays(np.float32, (3, 4), elements=within_range))
def test_decoded_within_half_a_step_and_encoded_again_the_same(values: np.ndarray) -> None:
    codes = encoded(torch.from_numpy(values))
    back = decoded(codes.numpy())
    assert np.abs(back - values).max() <= 0.5 / STEPS_PER_UNIT
    assert torch.equal(encoded(torch.from_numpy(back)), codes)


@given(arrays(np.float32, (3, 4), elements=st.floats(-20, 20, width=32)))
def test_rounded_is_what_is_stored(values: np.ndarray) -> None:
    tensor = torch.from_numpy(values)
    stored = decoded(encoded(tensor).numpy()).astype(np.float32)
    assert np.array_equal(rounded(tensor).numpy(), stored)


def test_what_is_out_of_range_is_clipped() -> None:
    codes = encoded(torch.tensor([[100.0, -100.0]]))
    assert codes.tolist() == [[127, -127]]


def test_older_maps_descriptors_stay_as_they_are() -> None:
    stored = np.array([[0.3, -7.9]], np.float16)
    assert np.array_equal(decoded(stored), stored)
