"""Image files: damaged ones are refused in one line, and Python warns of nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.errors import InputError
from deviloc_ros.images import decode_gray

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
FILES = {suffix: cv2.imencode(suffix, PIXELS)[1] for suffix in (".png", ".jpg", ".tif", ".webp")}


@pytest.mark.filterwarnings("error")
@given(st.sampled_from(list(FILES)), st.data())
def test_damaged_files(suffix: str, data: st.DataObject) -> None:
    content = FILES[suffix].copy()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    said = "photo: "
    image = PIXELS[..., 0]
    try:
        image = decode_gray(content, "photo")
    except InputError as error:
        said = str(error)
    assert said.startswith("photo: ")
    assert (image.ndim, image.dtype) == (2, np.uint8)


def test_a_sound_file_of_every_format_is_read() -> None:
    for content in FILES.values():
        assert decode_gray(content, "photo").shape == (12, 16)
