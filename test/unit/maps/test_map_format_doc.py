"""docs/map-format.md says what the code writes."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps import map, map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "map-format.md").read_text("utf-8")


def section(title: str) -> str:
    """Return the text below a heading, up to the next one."""
    return DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def column(title: str, number: int) -> list[str]:
    """Return a column of the tables below a heading, without head and back quotes."""
    rows = [
        line.strip("|").split("|") for line in section(title).splitlines() if line.startswith("| ")
    ]
    return [row[number].strip().strip("`") for row in rows[1:]]


def dtype_in_code(name: str) -> str:
    """Return the element type that `Map` declares for an array; it may be optional."""
    declared = typing.get_type_hints(Map, vars(map))[name]
    text = re.findall(r"numpy\.dtype\[numpy\.(\w+)\]", str(declared))
    assert len(text) == 1, f"{name}: {declared}"
    return str(text[0])


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    camera = Camera.parse("PINHOLE 64 48 50 50 32 24")
    pose = Transform.from_quaternion([1, 0, 0, 0], [1, 2, 3])
    path = tmp_path / "place.devmap"
    Map(
        references=[Reference(f"{i}.png", camera, pose) for i in range(2)],
        feature_offsets=np.array([0, 3, 5]),
        keypoints=np.zeros((5, 2), np.float32),
        descriptors=np.zeros((5, 64), np.float16),
        levels=np.zeros(5, np.uint8),
        feature_points=np.zeros((5, 3), np.float32),
        confidence=np.zeros(5, np.float16),
        global_descriptors=np.zeros((2, 128), np.float16),
        codebook=np.zeros((2, 64), np.float32),
        point_array=np.zeros((7, 3), np.float32),
        observation_offsets=np.array([0, 1, 2]),
        observation_points=np.zeros(2, np.int32),
        observation_pixels=np.zeros((2, 2), np.float32),
        origin=np.array([4.0, 5.0, 6.0]),
        metric=True,
        gravity_aligned=True,
        calibration=Calibration(np.zeros((2, 2))),
        depth_sigma=np.zeros(5, np.float16),
    ).with_images(64, np.array([0, 4, 9]), np.zeros(9, np.uint8)).save(path)
    return path


def test_arrays_are_those_of_the_map_with_their_types() -> None:
    documented = dict(zip(column("Arrays", 0), column("Arrays", 1), strict=True))
    assert documented == {name: dtype_in_code(name) for name in (*Map.ARRAYS, *Map.NEWER_ARRAYS)}


def test_shapes_are_those_of_a_written_map(saved: Path) -> None:
    sizes = {"R": 2, "F": 5, "P": 7, "O": 2, "C": 2, "D": 64, "B": 9}
    with safe_open(saved, framework="numpy") as content:
        for name, shape in zip(column("Arrays", 0), column("Arrays", 2), strict=True):
            sides = [eval(side, {}, sizes) for side in shape.strip("()").split(",")]
            assert content.get_slice(name).get_shape() == sides, name


def test_description_has_the_keys_of_a_written_map(saved: Path) -> None:
    with safe_open(saved, framework="numpy") as content:
        description = json.loads(content.metadata()["description"])
    assert sorted(column("Description", 0)) == sorted(description)


def test_metadata_has_the_entries_of_a_written_map(saved: Path) -> None:
    with safe_open(saved, framework="numpy") as content:
        metadata = content.metadata()
    table = section("Bytes").split("`__metadata__` (safetensors")[1]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(metadata)


def test_format_version_and_limit_are_the_code_s() -> None:
    assert f"| `format` | `{map_file.FORMAT}` |" in DOCUMENT
    assert f"| `version` | `{map_file.VERSION}` |" in DOCUMENT
    assert f"{map_file.MAX_HEADER_BYTES:,}".replace(",", " ") in DOCUMENT


def test_the_example_reads_a_map(
    saved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    monkeypatch.chdir(saved.parent)
    exec(compile(example, "docs/map-format.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "0.png PINHOLE 64 48 50.0 50.0 32.0 24.0 [1.0, 2.0, 3.0]",
        "1.png PINHOLE 64 48 50.0 50.0 32.0 24.0 [1.0, 2.0, 3.0]",
        "7 SfM points; 3 features in the first reference",
    ]
