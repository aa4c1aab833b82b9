"""Transforms out of messages: what tf2 ignores is refused, with what would be right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.bags import types
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.stamped import link_of


def message(parent: str = "odom", child: str = "base_link", **changes: float) -> object:
    item = types.tf(5, parent, child, Transform.identity()).transforms[0]
    for name, value in changes.items():
        place, axis = name.split("_")
        setattr(getattr(item.transform, {"t": "translation", "q": "rotation"}[place]), axis, value)
    return item


def test_a_sound_transform_is_read() -> None:
    link = link_of(message("/odom", t_x=2.0))
    assert (link.parent, link.child, link.stamp) == ("odom", "base_link", 5)
    np.testing.assert_array_equal(link.parent_from_child.translation, [2.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("item", "named"),
    [
        (message(q_w=0.0), "unit quaternion"),
        (message(q_w=0.9), "unit quaternion"),
        (message(q_x=1e300), "unit quaternion"),
        (message(q_x=math.nan), "finite"),
        (message(t_z=math.inf), "finite"),
        (message(t_z=1e300), "farther"),
        (message(child=""), "no name"),
        (message(parent="/"), "no name"),
        (message(child="/odom"), "same frame"),
    ],
)
def test_what_is_no_transform_is_refused(item: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        link_of(item)


@given(st.lists(st.floats(), min_size=7, max_size=7))
def test_whatever_is_read_is_a_rigid_transform(values: list[float]) -> None:
    names = ("t_x", "t_y", "t_z", "q_x", "q_y", "q_z", "q_w")
    try:
        link = link_of(message(**dict(zip(names, values, strict=True))))
    except InputError:
        return
    matrix = link.parent_from_child.matrix
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
