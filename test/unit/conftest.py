"""Maps that several tests share."""

from __future__ import annotations

import flat_map
import pytest

from deviloc_ros.maps.map import Map


@pytest.fixture(scope="session")
def board() -> Map:
    """A map of five references with different numbers of features."""
    return flat_map.flat_map(5)
