"""Transforms of a bag: those that tf2 ignores are ignored here, and told once a frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from deviloc_ros.bags import types
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.geometry.transform import Transform

SECOND = 1_000_000_000


def broken(stamp: int, child: str) -> object:
    """Return a transform whose rotation is the zero quaternion, as an uninitialised message's."""
    result = types.tf(stamp, "base_link", child, Transform.identity())
    result.transforms[0].transform.rotation.w = 0.0
    return result


def test_a_broken_transform_leaves_the_others_and_is_told_once(tmp_path: Path) -> None:
    mount = Transform(Rotation.from_euler("z", 0.5), np.array([0.3, 0.0, 1.0]))
    with BagWriter(tmp_path / "bag") as writer:
        writer.write("/tf_static", 1, broken(0, "mast"), latched=True)
        writer.write("/tf_static", 2, types.tf(0, "base_link", "camera", mount), latched=True)
        for second in range(1, 4):
            writer.write("/tf", second * SECOND, broken(second * SECOND, "wheel"))
            moved = Transform(Rotation.identity(), np.array([float(second), 0.0, 0.0]))
            sent = types.tf(second * SECOND, "odom", "base_link", moved)
            writer.write("/tf", second * SECOND + 1, sent)
    told: list[str] = []
    with Bag(tmp_path / "bag") as bag:
        transforms = BagTransforms(bag, tell=told.append)
        transforms.advance(4 * SECOND)
        found = transforms.lookup("odom", "camera", 2 * SECOND)
    np.testing.assert_allclose(found.translation, [2.3, 0.0, 1.0])
    assert [text.split("'")[1] for text in told] == ["mast", "wheel"]
