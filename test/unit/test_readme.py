"""README.md says what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest

from deviloc_ros.cli.main import COMMANDS, ExitCode, _parser
from deviloc_ros.config import LocalizerConfig, keys, load
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization import Localizer
from deviloc_ros.localization.types import Correspondences, FailureReason, PoseEstimate
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.ros.launch.arguments import ONE_CAMERA_ARGUMENTS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def lines() -> list[str]:
    """Return every command line of the shell blocks."""
    return [line for block in blocks("sh") for line in block.replace("\\\n", " ").splitlines()]


def spans() -> list[str]:
    """Return everything in single back quotes."""
    prose = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def deviloc_lines() -> list[str]:
    whole = [line for line in lines() if line.startswith("deviloc ")]
    # In running text a command may be named without its arguments; one with options is complete.
    return whole + [span for span in spans() if span.startswith("deviloc ") and "--" in span]


@pytest.mark.parametrize("line", deviloc_lines())
def test_command_lines_parse(line: str) -> None:
    arguments = shlex.split(line)[1:]
    if {"--help", "--keys"} & set(arguments):
        with pytest.raises(SystemExit, match=r"^0$"):
            _parser().parse_args(arguments)
        return
    args = _parser().parse_args(arguments)
    load(LocalizerConfig, None, getattr(args, "set", []))


def test_there_are_command_lines_of_every_kind_of_work() -> None:
    seen = {line.split()[1] for line in deviloc_lines()}
    assert {"map", "localize", "evaluate", "bag", "play"} <= seen


def test_commands_named_in_the_text_exist() -> None:
    named = {span.split()[1] for span in spans() if re.match(r"deviloc \w", span)}
    assert named <= set(COMMANDS)


def test_run_scripts_exist() -> None:
    usage = (ROOT / "run").read_text(encoding="utf-8")
    texts = [text for text in (*lines(), *spans()) if text.startswith("./run ")]
    assert {"./run demo", "./run test"} <= set(texts)
    for text in texts:
        command, *arguments = shlex.split(text)[1:]
        assert re.search(rf"^ +\S* *\./run {command}\b|^usage: \./run {command}\b", usage, re.M)
        if command == "bench":
            places = (ROOT / "benchmarks", ROOT / "benchmarks" / "studies")
            assert any((place / f"{arguments[0]}.py").is_file() for place in places), text


def test_launch_arguments_exist() -> None:
    of_file = {}
    for line in lines():
        if line.startswith("ros2 launch"):
            _, _, package, file, *given = shlex.split(line)
            assert package == "deviloc_ros"
            of_file[file] = {argument.partition(":=")[0] for argument in given}
    (also,) = re.findall(r"More launch arguments: (.*?)\. ", README, re.DOTALL)
    named = of_file["localization.launch.py"] | set(re.findall(r"`(\w+)`", also))
    assert named == set(ONE_CAMERA_ARGUMENTS)
    shared = (ROOT / "deviloc_ros" / "ros" / "launch" / "replay.py").read_text(encoding="utf-8")
    for file, arguments in of_file.items():
        text = (ROOT / "launch" / file).read_text(encoding="utf-8") + shared
        assert all(f'"{name}":' in text or name in ONE_CAMERA_ARGUMENTS for name in arguments)


def test_launch_files_named_in_the_text_exist() -> None:
    named = {span for span in spans() if span.endswith(".launch.py")}
    assert named == {path.name for path in (ROOT / "launch").glob("*.launch.py")}


def test_keys_named_in_the_text_exist() -> None:
    sections = {key.name.partition(".")[0] for key in keys(LocalizerConfig) if "." in key.name}
    known = {key.name for key in keys(LocalizerConfig)}
    named = {span for span in spans() if re.fullmatch(rf"(?:{'|'.join(sections)})\.\w+", span)}
    assert named
    assert named <= known


def test_ros_parameters_named_in_the_text_exist() -> None:
    known = {key.name for key in keys(NodeConfig)}
    groups = {name.partition(".")[0] for name in known if "." in name}
    named = {
        span.partition(":")[0]
        for span in spans()
        if re.fullmatch(rf"(?:{'|'.join(groups)})\.\w+(?:: \w+)?", span)
    }
    assert {"tf.publish", "image.reliability", "extrinsics.source"} <= named
    assert named <= known


def test_sections_come_in_the_order_in_which_people_look() -> None:
    titles = re.findall(r"^## (.+)$", README, re.MULTILINE)
    first = ["Install", "Quick start", "Your own map", "Your robot", "Bags", "Python"]
    assert titles[: len(first)] == first
    assert titles[len(first)] == "Troubleshooting"
    assert {"Configuration", "Documents", "Citation", "Licence"} <= set(titles)


def test_the_system_packages_stand_before_the_first_commands() -> None:
    (block,) = [block for block in blocks("sh") if "./run demo" in block]
    install, demo, test = block.splitlines()
    assert install.startswith("sudo apt install python3-venv python3-dev cmake g++ ")
    assert [demo, test] == ["./run demo", "./run test"]


def test_papers_can_be_cited() -> None:
    (entries,) = blocks("bibtex")
    assert re.findall(r"^@inproceedings\{(\w+),$", entries, re.MULTILINE) == [
        "giang2024deviloc", "potje2024xfeat", "schoenberger2016sfm"
    ]  # fmt: skip
    assert entries.count("{") == entries.count("}")


def test_pictures_are_small() -> None:
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert pictures
    assert sum((ROOT / picture).stat().st_size for picture in pictures) < 400_000


def test_every_reason_has_one_row_in_the_troubleshooting_table() -> None:
    table = README.split("\n## Troubleshooting\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| [^|]{20,} \|$", table, re.MULTILINE)
    assert sorted(rows) == sorted(reason.name for reason in FailureReason)


def test_exit_codes_are_those_of_the_command_line() -> None:
    table = README.split("\n## Exit codes\n")[1].split("\n## ")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == sorted(
        ExitCode
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the map and the query that the example names."""
    generator = np.random.default_rng(0)
    camera = Camera.parse("PINHOLE 640 480 500 500 320 240")
    Map(
        references=[Reference("0.png", camera, Transform.from_quaternion([1, 0, 0, 0], [0, 0, 0]))],
        feature_offsets=np.array([0, 4]),
        keypoints=generator.random((4, 2), dtype=np.float32),
        descriptors=generator.random((4, 64)).astype(np.float16),
        levels=np.zeros(4, np.uint8),
        feature_points=generator.random((4, 3), dtype=np.float32),
        confidence=np.ones(4, np.float16),
        global_descriptors=generator.random((1, 128)).astype(np.float16),
        codebook=generator.random((2, 64), dtype=np.float32),
        point_array=generator.random((3, 3), dtype=np.float32),
        observation_offsets=np.array([0, 1]),
        observation_points=np.zeros(1, np.int32),
        observation_pixels=np.zeros((1, 2), np.float32),
        origin=np.zeros(3),
        metric=True,
        gravity_aligned=True,
        calibration=Calibration(np.zeros((2, 2))),
    ).save(tmp_path / "place.devmap")
    cv2.imwrite(
        str(tmp_path / "query.jpg"), generator.integers(0, 255, (480, 640, 3), dtype=np.uint8)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def example() -> str:
    """Return the Python example."""
    (block,) = blocks("python")
    return block


def test_the_python_example_tells_why_there_is_no_pose(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(example(), "README.md", "exec"), {})
    reason, _, details = capsys.readouterr().out.strip().partition(" ")
    assert reason in FailureReason.__members__
    assert details


def test_the_python_example_prints_a_pose(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = Correspondences(
        np.zeros((0, 2)), np.zeros((0, 3)), np.zeros(0), np.zeros(0, np.int64), np.zeros((0, 2))
    )
    found = PoseEstimate(
        Transform.from_quaternion([1, 0, 0, 0], [-1, -2, -3]), 0.25 * np.eye(6), nothing,
        np.zeros(0, np.bool_), nothing, ["0.png"], {},
    )  # fmt: skip
    monkeypatch.setattr(Localizer, "localize", lambda self, image, camera: found)
    exec(compile(example(), "README.md", "exec"), {})
    assert capsys.readouterr().out == "[1. 2. 3.] [0.5 0.5 0.5 0.5 0.5 0.5]\n"
