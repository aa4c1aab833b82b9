"""Places on the earth in a map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deviloc_ros.robot.georeference import Georeference

OXFORD = (51.76, -1.26, 110.0)


def test_the_origin_is_the_origin() -> None:
    np.testing.assert_allclose(Georeference(*OXFORD, 33.0).position(*OXFORD), 0, atol=1e-6)


def test_east_north_and_up_are_the_axes() -> None:
    place = Georeference(*OXFORD, 0.0)
    # Radii of curvature of WGS 84 at this latitude, from its semi-axes.
    a, e2 = 6378137.0, 6.69437999014e-3
    sine = np.sin(np.radians(OXFORD[0]))
    prime = a / np.sqrt(1 - e2 * sine**2)
    meridian = prime * (1 - e2) / (1 - e2 * sine**2)
    north = place.position(OXFORD[0] + 1e-3, *OXFORD[1:])
    np.testing.assert_allclose(north, [0, np.radians(1e-3) * (meridian + 110), 0], atol=2e-3)
    east = place.position(OXFORD[0], OXFORD[1] + 1e-3, OXFORD[2])
    along = np.radians(1e-3) * (prime + 110) * np.cos(np.radians(OXFORD[0]))
    np.testing.assert_allclose(east, [along, 0, 0], atol=2e-3)
    np.testing.assert_allclose(place.position(*OXFORD[:2], 120.0), [0, 0, 10], atol=1e-6)


@given(st.floats(-180, 180))
def test_the_heading_turns_the_map(heading: float) -> None:
    there = (51.761, -1.262, 115.0)
    turned = Georeference(*OXFORD, heading).position(*there)
    enu = Georeference(*OXFORD, 0.0).position(*there)
    assert np.linalg.norm(turned) == pytest.approx(np.linalg.norm(enu))
    assert turned[2] == pytest.approx(enu[2])
    bearing = np.arctan2(enu[1], enu[0]) - np.arctan2(turned[1], turned[0])
    assert np.cos(bearing - np.radians(heading)) == pytest.approx(1)
