"""cv_bridge and our own converter: one table of cases for both."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import Image

from deviloc_ros.errors import InputError
from deviloc_ros.messages.image import ENCODINGS, pixels_from_message
from deviloc_ros.ros.inputs.images import bridge_converter, image_converter, ros2_cv_bridge

CASES = [
    (encoding, padding, big_endian)
    for encoding in ENCODINGS
    for padding in (0, 2, 5, 12)
    for big_endian in (0, 1)
]


def message(encoding: str, padding: int, big_endian: int) -> Image:
    layout = ENCODINGS[encoding]
    step = 8 * layout.channels * np.dtype(layout.type).itemsize + padding
    result = Image(height=6, width=8, encoding=encoding, step=step, is_bigendian=big_endian)
    result.data = np.random.default_rng(3).integers(0, 256, 6 * step, np.uint8).tobytes()
    return result


def test_both_converters_give_the_same_pixels() -> None:
    bridge = ros2_cv_bridge()
    if bridge is None:
        pytest.skip("ROS 2's cv_bridge is not installed: no wheel has it")
    convert = bridge_converter(bridge)
    for case in CASES:
        ours, theirs = pixels_from_message(message(*case)), convert(message(*case))
        np.testing.assert_array_equal(ours, theirs, err_msg=str(case))


@pytest.mark.parametrize(
    "fault", [{"encoding": "64FC1"}, {"step": 3}, {"data": b"1"}, {"width": 0}, {"height": 0}]
)
def test_contradictions_are_refused_whichever_converts(fault: dict[str, object]) -> None:
    class Untouched:
        """Fails if it is asked: what the bridge cannot read must not reach it."""

        def imgmsg_to_cv2(self, *_: object) -> None:
            raise AssertionError

    image = message("mono8", 0, 0)
    for name, value in fault.items():
        setattr(image, name, value)
    for convert in (pixels_from_message, bridge_converter(Untouched())):
        with pytest.raises(InputError):
            convert(image)


BRIDGE = """
class CvBridge:
    def imgmsg_to_cv2(self, message, encoding):
        {body}
"""


def make_package(folder: Path, registered: bool, body: str) -> None:
    (folder / "cv_bridge").mkdir(parents=True)
    (folder / "cv_bridge" / "__init__.py").write_text(BRIDGE.format(body=body))
    index = folder / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True)
    if registered:
        (index / "cv_bridge").touch()


@pytest.mark.parametrize(
    ("registered", "body", "name"),
    [
        (False, "return None", "own"),
        (True, "return None", "cv_bridge"),
        (True, "raise ImportError('numpy 1')", "own, as cv_bridge fails: numpy 1"),
    ],
)
def test_only_a_working_cv_bridge_of_ros_2_is_used(
    registered: bool, body: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path, registered, body)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
    assert image_converter()[1] == name
    sys.modules.pop("cv_bridge", None)
