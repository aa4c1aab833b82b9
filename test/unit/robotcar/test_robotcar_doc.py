"""docs/robotcar.md and the section on tiles of docs/map-format.md say what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import robotcar_folder as made
from safetensors import safe_open

from deviloc_ros.bags.reader import Bag
from deviloc_ros.cli.main import _parser, main
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.tiling import write_index
from deviloc_ros.maps import map_file
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference

ROOT = Path(__file__).resolve().parents[3]
ROBOTCAR = (ROOT / "docs" / "robotcar.md").read_text("utf-8")
FORMAT = (ROOT / "docs" / "map-format.md").read_text("utf-8")
TILES = FORMAT.split("\n## Tiles\n")[1].split("\n## ")[0]
NAMES = {"float16": "F16", "float32": "F32", "int32": "I32", "int64": "I64"}


def commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", ROBOTCAR, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


def test_command_lines_parse() -> None:
    lines = [line for line in commands() if line.startswith("deviloc ")]
    assert len(lines) > 5
    for line in lines:
        _parser().parse_args(shlex.split(line)[1:])


def test_the_launch_file_has_the_arguments() -> None:
    (line,) = [line for line in commands() if line.startswith("ros2 launch")]
    _, _, package, name, *arguments = shlex.split(line)
    assert package == "deviloc_ros"
    text = (ROOT / "launch" / name).read_text("utf-8")
    shared = (ROOT / "deviloc_ros" / "ros" / "launch" / "replay.py").read_text("utf-8")
    shared += (ROOT / "deviloc_ros" / "ros" / "launch" / "launching.py").read_text("utf-8")
    for argument in arguments:
        assert f'"{argument.partition(":=")[0]}"' in text + shared


def test_topics_are_those_of_a_bag(tmp_path: Path) -> None:
    made.write_sdk(tmp_path)
    made.write_sequence(tmp_path / "drive", count=1)
    assert main(["robotcar", "to-bag", str(tmp_path / "drive"), "--output",
                 str(tmp_path / "bag")]) == 0  # fmt: skip
    with Bag(tmp_path / "bag") as bag:
        written = {
            topic.name: topic.type.replace("/msg/", "/")
            for topic in bag.topics.values()
            if not topic.name.startswith(("/rear", "/right"))
        }
    table = ROBOTCAR.split("| topic | type | what |")[1].split("\n\n")[0]
    documented: dict[str, str] = {}
    for names, kinds in re.findall(r"^\| (.*?) \| (.*?) \| .* \|$", table, re.MULTILINE):
        topics = [n for n in re.findall(r"`([^`]+)`", names) if "..." not in n]
        types = re.findall(r"`([^`]+)`", kinds)
        documented |= dict(zip(topics, types * len(topics), strict=False))
    assert documented == written


@pytest.fixture
def index(tmp_path: Path) -> Path:
    for name, place in (("a", 0.0), ("b", 2.0)):
        camera = Camera.parse("PINHOLE 64 48 50 50 32 24")
        pose = Transform.from_quaternion([1, 0, 0, 0], [place, 0, 0])
        Map(
            references=[Reference(f"{name}{i}.png", camera, pose) for i in range(2)],
            feature_offsets=np.array([0, 3, 5]),
            keypoints=np.zeros((5, 2), np.float32),
            descriptors=np.random.default_rng(0).normal(size=(5, 64)).astype(np.float16),
            levels=np.zeros(5, np.uint8),
            feature_points=np.zeros((5, 3), np.float32),
            confidence=np.zeros(5, np.float16),
            global_descriptors=np.zeros((2, 128), np.float16),
            codebook=np.zeros((2, 64), np.float32),
            point_array=np.full((7, 3), 9, np.float32),
            observation_offsets=np.array([0, 1, 2]),
            observation_points=np.zeros(2, np.int32),
            observation_pixels=np.zeros((2, 2), np.float32),
            origin=np.zeros(3),
            metric=True,
            gravity_aligned=True,
            calibration=Calibration(np.zeros((2, 2))),
        ).save(tmp_path / f"{name}.devmap")
    write_index(tmp_path / "i.devtiles", [tmp_path / "a.devmap", tmp_path / "b.devmap"])
    return tmp_path / "i.devtiles"


def test_the_arrays_of_an_index_are_documented(index: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| \((.*?)\) \|", TILES, re.MULTILINE)
    with safe_open(index, framework="numpy") as content:
        pairs = content.get_slice("border_pairs").get_shape()[0]
        words = content.get_slice("codebook").get_shape()[0]
        sizes = {"T": 2, "R": 4, "E": pairs, "C": words, "D": 64}
        assert sorted(name for name, _, _ in rows) == sorted(content.keys())
        for name, kind, shape in rows:
            stored = content.get_slice(name)
            assert stored.get_dtype() == NAMES[kind], name
            assert stored.get_shape() == [eval(side, {}, sizes) for side in shape.split(",")], name


def test_the_description_of_an_index_is_that_of_a_map_and_tiles(index: Path) -> None:
    description = map_file.read(index, kind=map_file.TILES).description
    of_map = map_file.read(index.with_name("a.devmap")).description
    assert set(description) == {*of_map, "tiles", "alignable"}
    for key in description["tiles"][0]:
        assert f"`{key}`" in TILES
    assert f"`{map_file.TILES}`" in TILES
