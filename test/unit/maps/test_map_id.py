"""A map's id names its content."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_map import small_map

from deviloc_ros.errors import InputError
from deviloc_ros.maps import map_file
from deviloc_ros.maps.map import Map

MAP = small_map()


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    path = tmp_path / "place.devmap"
    MAP.save(path)
    return path


def in_another_order(path: Path) -> bytes:
    """Return a map file with its header's entries the other way round."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    turned = {name: dict(reversed(entry.items())) for name, entry in reversed(list(header.items()))}
    text = json.dumps(turned).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def test_the_id_is_of_the_content_and_not_of_its_order(map_path: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.devmap"
    turned.write_bytes(in_another_order(map_path))
    assert turned.read_bytes() != map_path.read_bytes()
    np.testing.assert_array_equal(Map.load(turned).keypoints, MAP.keypoints)
    assert map_file.map_id(turned) == map_file.map_id(map_path)
    assert len(map_file.map_id(map_path)) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"metric": False},
        {"origin": np.array([5e5, -5e6, 12.5])},
        {"unregistered": {}},
        {"confidence": 1 - MAP.confidence},
        {"levels": 1 - MAP.levels},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_content_has_another_id(map_path: Path, tmp_path: Path, change: dict) -> None:
    replace(MAP, **change).save(tmp_path / "other.devmap")
    assert map_file.map_id(tmp_path / "other.devmap") != map_file.map_id(map_path)


def test_what_is_no_map_has_no_id(tmp_path: Path) -> None:
    for content in (b"", b"no map", b"\x02\0\0\0\0\0\0\0{}"):
        (tmp_path / "no.devmap").write_bytes(content)
        with pytest.raises(InputError, match=r"no\.devmap: "):
            map_file.map_id(tmp_path / "no.devmap")
