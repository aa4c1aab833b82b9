"""RobotCar from raw folders to an evaluated replay: bag, tiled map, launch, node, all real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="launch and launch_ros are not installed: no wheels")
pytest.importorskip("vtkmodules", reason="the simulated street is rendered with VTK")
import robotcar_folder as made
from launched import ROOT, Launched, install
from rclpy.context import Context
from robotcar_folder import ORIGIN, SECOND, START
from robotcar_scene import Scene

from deviloc_ros.cli.main import main

pytestmark = pytest.mark.ros

STEP = 3 * SECOND // 4
PLACES = [[START + index * STEP for index in place] for place in (range(3), range(3, 6))]
LAUNCH = ROOT / "launch" / "robotcar_replay.launch.py"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a map of tiles and a bag of a raw sequence along the same street."""
    root = tmp_path_factory.mktemp("oxford")
    scene = Scene()
    sides = ("left", "rear")
    made.write_sdk(root)
    made.write_sequence(root / "drive", 7, sides, scene.colours, period=0.5)
    made.write_seasons(root / "seasons", PLACES, {}, scene.colours, scene.depth, sides)
    scene.close()
    index, bag = root / "oxford.devtiles", root / "bag"
    assert main(
        ["map", "build", "--dataset", "robotcar-seasons", "--images", str(root / "seasons"),
         "--up", "minus-z", "--output", str(index),
         "--set", "features.max_size=320", "--set", "features.num_keypoints=1024"]
    ) == 0  # fmt: skip
    assert main(
        ["robotcar", "to-bag", str(root / "drive"), "--output", str(bag), "--chunk", "4",
         "--cameras", ",".join(sides), "--origin", *(str(value) for value in ORIGIN)]
    ) == 0  # fmt: skip
    return index, bag


def test_a_raw_sequence_is_replayed_localized_and_evaluated(
    inputs: tuple[Path, Path], tmp_path: Path, context: Context
) -> None:
    index, bag = inputs
    prefix = install(tmp_path)
    parameters = (ROOT / "config" / "robotcar_rig.yaml").read_text()
    settings = "    features: {max_size: 320, num_keypoints: 1024}\n    tiles: {loaded: 1}\n"
    params = tmp_path / "params.yaml"
    params.write_text(parameters.rstrip() + "\n" + settings)
    arguments = [f"map:={index}", f"bag:={bag}", f"output:={tmp_path / 'result'}", "rate:=0.1",
                 "cameras:=left,rear", f"params_file:={params}", "silence:=5.0"]  # fmt: skip
    with Launched(prefix, LAUNCH, *arguments) as launched:
        output = launched.wait(400)
    summary = json.loads((tmp_path / "result" / "summary.json").read_text())
    # A busy machine may drop images; it must not lose all.
    assert summary["localized"] >= 3, output
    assert summary["errors"]["median_position_error_m"] < 0.15, output
    assert summary["errors"]["median_rotation_error_deg"] < 0.5, output
    assert "replay is over" in output
    assert "Traceback" not in output


def test_a_camera_that_the_bag_lacks_is_told(
    inputs: tuple[Path, Path], tmp_path: Path, context: Context
) -> None:
    prefix = install(tmp_path)
    arguments = [f"map:={inputs[0]}", f"bag:={inputs[1]}", f"output:={tmp_path / 'result'}"]
    with Launched(prefix, LAUNCH, *arguments) as launched:
        output = launched.wait()
    assert "/right/image_rect is no image topic" in output
