"""Which of K and P holds: by whole words of the topic's name, and never against the calibration
without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deviloc_ros.bags import types
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.messages.rectification import names_rectified, rectification

CAMERA = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))


def info(**changes: Any) -> Any:
    result = types.camera_info(0, "camera", CAMERA)
    for name, value in changes.items():
        setattr(result, name, np.array(value, dtype=np.float64))
    return result


@pytest.mark.parametrize(
    "topic",
    [
        "image_rect",
        "/camera/image_rect",
        "/front/image_rect_color",
        "/front/image_rect/compressed",
        "/camera/infra1/image_rect_raw",  # RealSense
        "/zed/zed_node/left/image_rect_color",
        "/zed/zed_node/rgb/color/rect/image",  # ZED since 5.1
        "/oak/rgb/image_rect",
        "/left/image_rectified",
        "/cam/Image-Rect",
    ],
)
def test_names_of_rectified_images(topic: str) -> None:
    assert names_rectified(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "/image",
        "/direct/image_raw",
        "/director1/image_raw",
        "/camera/unrectified",
        "/undirected/image",
        "/rectangle/image",
        "/camera/image_unrect",
        "/rect_lab/image_raw",
        "/correct/image_color",
        "",
    ],
)
def test_names_of_other_images(topic: str) -> None:
    assert not names_rectified(topic)


def test_the_setting_goes_before_the_name() -> None:
    assert rectification("yes", "/camera/image_raw", info()).rectified
    assert not rectification("no", "/camera/image_rect", info()).rectified
    assert "image.rectified is no" in str(rectification("no", "/camera/image_rect", info()))


def test_agreement_is_no_doubt() -> None:
    for topic in ("/image_raw", "/image_rect"):
        decided = rectification("auto", topic, info())
        assert not decided.doubtful
        assert topic in str(decided)


@pytest.mark.parametrize(
    ("topic", "changes", "rectified", "words"),
    [
        # An unset P is not the end where K is the same.
        ("/image_rect", {"p": [0.0] * 12}, False, "K is the same as D is zero"),
        ("/image_rect", {"p": [0.0] * 12, "d": [0.1, 0, 0, 0, 0]}, True, "P is not set"),
        (
            "/image_rect",
            {"p": [50, 0, 320, 0, 0, 50, 240, 0, 0, 0, 1, 0]},
            True,
            "P's focal length is 50 and K's 500",
        ),
        (
            "/image",
            {"p": [480, 0, 320, 0, 0, 480, 240, 0, 0, 0, 1, 0]},
            False,
            "set rectified to yes",
        ),
    ],
)
def test_what_the_calibration_says_against_it_is_told(
    topic: str, changes: dict[str, Any], rectified: bool, words: str
) -> None:
    decided = rectification("auto", topic, info(**changes))
    assert decided.rectified is rectified
    assert words in str(decided)
