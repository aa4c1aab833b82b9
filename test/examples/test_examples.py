"""The examples, run as a user runs them, on a rendered wall that example 02 has mapped."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation
from wall_map import BASE_FROM_CAMERA

from deviloc_ros import Camera, Localizer, LocalizerConfig, Map, Transform
from deviloc_ros.bags import types
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.datasets.poses import read_tum
from deviloc_ros.simulation.wall import before_the_wall, view, write_map_images

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOK = EXAMPLES / "06_method_step_by_step.ipynb"
CAMERA = Camera("PINHOLE", 320, 240, (267.0, 267.0, 160.0, 120.0))
TRUTH = before_the_wall(0.3, yaw=5.0)
"""map_from_base of the queries."""
TURN = {"left": 8.0, "right": -8.0}
SECOND = 1_000_000_000


def mount(name: str) -> Transform:
    """Return base_from_camera of a camera of the rig."""
    turn = Rotation.from_euler("z", TURN[name], degrees=True)
    return Transform(turn, np.array([0.0, 0.2 * np.sign(TURN[name]), 0.0])) @ BASE_FROM_CAMERA


def run(name: str, *arguments: object) -> tuple[int, str]:
    """Run an example as a program; return its exit code and what it prints."""
    (path,) = EXAMPLES.glob(name)
    out, before = StringIO(), sys.argv
    sys.argv = [str(path), *map(str, arguments)]
    try:
        with redirect_stdout(out):
            runpy.run_path(str(path), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    finally:
        sys.argv = before
    return 0, out.getvalue()


@dataclass(frozen=True)
class Place:
    """A mapped wall.

    Attributes:
        folder: holds map, query.png, left.png, right.png, rig.yaml.
        map: what example 02 wrote.
        told: what it printed.
    """

    folder: Path
    map: Path
    told: str


@pytest.fixture(autouse=True, scope="module")
def loaded_once() -> Iterator[None]:
    """Let examples share a localizer: loading its networks takes longer than all that they do."""
    load = Localizer.load
    loaded: dict[tuple[str, str], Localizer] = {}

    def load_once(path: str | Path, config: LocalizerConfig | None = None) -> Localizer:
        used = set(LocalizerConfig.model_fields)
        key = str(path), (config or LocalizerConfig()).model_dump_json(include=used)
        if key not in loaded:
            loaded[key] = load(path, config)
        return loaded[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Localizer, "load", load_once)
        yield


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Photograph the wall, and let example 02 make a metric map of it."""
    folder = tmp_path_factory.mktemp("place")
    poses = []
    for index, x in enumerate(np.linspace(-1.2, 1.2, 6)):
        beside = Transform(
            Rotation.identity(), np.array([0.0, 0.5 * (index % 3), 0.4 * (index % 2)])
        )
        poses.append(beside @ before_the_wall(float(x), yaw=8.0 * (-1) ** index) @ BASE_FROM_CAMERA)
    images, _ = write_map_images(poses, CAMERA, folder)
    cv2.imwrite(str(images / "dark.png"), np.full((240, 320), 9, np.uint8))
    lines = [
        f"{index:02d}.png {' '.join(map(str, pose.translation))}\n"
        for index, pose in enumerate(poses)
    ]
    (folder / "positions.txt").write_text("".join(lines))
    cv2.imwrite(str(folder / "query.png"), view(TRUTH @ BASE_FROM_CAMERA, CAMERA))
    cameras = {}
    for name in TURN:
        cv2.imwrite(str(folder / f"{name}.png"), view(TRUTH @ mount(name), CAMERA))
        cameras[name] = {
            "topic": f"/{name}/image_raw",
            "camera": str(CAMERA),
            "extrinsics": {
                "translation": mount(name).translation.tolist(),
                "rotation": mount(name).rotation.as_quat().tolist(),
            },
        }
    (folder / "rig.yaml").write_text(yaml.safe_dump({"cameras": cameras}))
    path = folder / "place.devmap"
    camera, positions = str(CAMERA), folder / "positions.txt"
    code, told = run("02_*", images, path, "--camera", camera, "--positions", positions)
    assert code == 0
    return Place(folder, path, told)


def numbers(label: str, text: str) -> list[float]:
    """Return the numbers that follow a label."""
    found = re.search(rf"{label}((?:\s+-?\d+\.\d+)+)", text)
    assert found, text
    return [float(number) for number in found[1].split()]


def write_bag(path: Path, cameras: Sequence[str]) -> Path:
    """Write a drive past the wall, seen by cameras of the rig; return the bag."""
    with BagWriter(path) as writer:
        for index in range(2):
            stamp = (10 + index) * SECOND
            map_from_base = before_the_wall(0.3 * index, yaw=5.0)
            for name in cameras:
                topic, frame = f"/{name}/image_raw", f"{name}_optical"
                static = types.tf(stamp, "base_link", frame, mount(name))
                writer.write("/tf_static", stamp, static, latched=True)
                info = types.camera_info(stamp, frame, CAMERA)
                writer.write(f"/{name}/camera_info", stamp, info)
                pixels = view(map_from_base @ mount(name), CAMERA)
                writer.write(topic, stamp + 1000, types.image(stamp, frame, pixels))
    return path


def test_examples_are_short() -> None:
    lengths = {p.name: len(p.read_text().splitlines()) for p in EXAMPLES.glob("*.py")}
    assert len(lengths) == 5
    assert {name: length for name, length in lengths.items() if length >= 80} == {}


def test_the_readme_lists_every_example() -> None:
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
    assert set(re.findall(r"^\| \[`([\w.]+)`\]\(\1\)", table, re.MULTILINE)) == files


@pytest.mark.parametrize("name", ["01_*", "02_*", "03_*", "04_*"])
def test_bad_input_is_one_line_and_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = {
        "01_*": [tmp_path / "no.devmap", EXAMPLES / "README.md", str(CAMERA)],
        "02_*": [tmp_path / "no", tmp_path / "new.devmap"],
        "03_*": [tmp_path / "no.devmap", tmp_path / "no", tmp_path / "out"],
        "04_*": [tmp_path / "no.devmap", tmp_path / "no.yaml", "left=no.png"],
    }[name]
    code, _ = run(name, *missing)
    assert code == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if " error: " in x]
    assert "no" in line or "README.md" in line


def test_02_says_what_is_in_the_map(place: Place) -> None:
    assert "6 of 7 photographs are in the map" in place.told
    assert re.search(r"^not in the map: dark.png: \w+", place.told, re.MULTILINE)
    assert re.search(r"^[56] of 6 positions agree to 0\.00\d m$", place.told, re.MULTILINE)
    built = Map.load(place.map)
    assert built.metric
    assert built.gravity_aligned


def test_01_prints_the_pose(place: Place) -> None:
    code, told = run("01_*", place.map, place.folder / "query.png", CAMERA)
    assert code == 0
    expected = TRUTH @ BASE_FROM_CAMERA
    np.testing.assert_allclose(numbers("position:", told), expected.translation, atol=0.02)
    turn = Rotation.from_quat(numbers("quaternion:", told)) * expected.rotation.inv()
    assert np.degrees(turn.magnitude()) < 0.3
    assert 0 < max(numbers("position sigma:", told)) < 0.05


def test_01_tells_why_there_is_no_pose(place: Place, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    code, told = run("01_*", place.map, tmp_path / "noise.png", CAMERA)
    assert code == 3
    assert re.match(r"no pose: [A-Z_]+: .+", told)


@pytest.mark.parametrize("cameras", [["left"], ["left", "right"]])
def test_03_localizes_one_camera_and_a_rig(
    place: Place, tmp_path: Path, cameras: list[str]
) -> None:
    bag, output = write_bag(tmp_path / "drive", cameras), tmp_path / "result"
    rig = ["--rig", place.folder / "rig.yaml"] if len(cameras) > 1 else []
    code, told = run("03_*", place.map, bag, output, *rig)
    assert code == 0
    what = "instants of left, right" if rig else "images of /left/image_raw"
    assert f"2 of 2 {what} localized; poses of base_link in map" in told
    by_camera = ", left \\d+ of \\d+, right \\d+ of \\d+" if rig else ""
    assert re.search(rf"^10\.000000000 .* sigma 0\.\d+{by_camera}$", told, re.MULTILINE)
    poses = read_tum(output / "poses_tum.txt")
    assert len(poses) == 2
    for stamp, map_from_base in poses:
        expected = before_the_wall(0.3 * (stamp // SECOND - 10), yaw=5.0)
        assert map_from_base.distance_to(expected)[0] < 0.02


def test_04_gives_the_pose_of_the_base(place: Place) -> None:
    images = [f"{name}={place.folder / name}.png" for name in TURN]
    code, told = run("04_*", place.map, place.folder / "rig.yaml", *images)
    assert code == 0
    np.testing.assert_allclose(numbers("base in map:", told), TRUTH.translation, atol=0.02)
    assert len(re.findall(r"^(?:left|right): [1-9]\d* of \d+ matches agree", told, re.M)) == 2


@pytest.fixture
def notebook() -> Iterator[Callable[[str], Mapping[str, Any]]]:
    """Return a function that runs the notebook's cells, with other parameters if any are given."""
    mpl.use("Agg")

    def execute(parameters: str) -> Mapping[str, Any]:
        names: dict[str, Any] = {"__name__": "__main__"}
        for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                given = parameters if "parameters" in cell["metadata"].get("tags", []) else ""
                exec(compile(given or "".join(cell["source"]), cell["id"], "exec"), names)
        return names

    yield execute
    plt.close("all")


def check_pictures() -> None:
    """Every picture has its number, its caption and something in it."""
    captions = [plt.figure(number).get_supxlabel() for number in plt.get_fignums()]
    assert [text.partition(".")[0] for text in captions] == [f"Figure {n}" for n in range(1, 10)]
    for number in plt.get_fignums():
        drawn = plt.figure(number)
        drawn.canvas.draw()
        assert np.ptp(np.asarray(drawn.canvas.buffer_rgba())[..., :3]) > 100  # type: ignore[attr-defined]


def test_the_notebook_runs_as_it_is(notebook: Callable[[str], Mapping[str, Any]]) -> None:
    names = notebook("")
    shift, turn = names["map_from_camera"].distance_to(names["truth"])
    assert shift < 0.005
    assert turn < 0.05
    assert names["result"].map_from_camera.distance_to(names["map_from_camera"]) == (0.0, 0.0)
    assert np.median(names["after"]) < 0.5 * np.median(names["before"])
    check_pictures()


def test_the_notebook_runs_with_a_map_of_ones_own(
    place: Place, notebook: Callable[[str], Mapping[str, Any]]
) -> None:
    query = place.folder / "query.png"
    names = notebook(f"MAP, IMAGE, CAMERA = {str(place.map)!r}, {str(query)!r}, {str(CAMERA)!r}")
    assert names["map_from_camera"].distance_to(TRUTH @ BASE_FROM_CAMERA)[0] < 0.02
    check_pictures()


def test_the_notebook_is_committed_without_outputs() -> None:
    content = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in cells] == [[]] * len(cells)
    assert {cell["execution_count"] for cell in cells} == {None}
