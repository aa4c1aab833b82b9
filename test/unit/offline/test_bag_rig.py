"""Rigs in bags: which topics are cameras, what rig.yaml says, and what comes of an instant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from at_once import AtOnce
from scipy.spatial.transform import Rotation
from small_map import small_map

import deviloc_ros.localization
from deviloc_ros.bags import types
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.cli.main import main
from deviloc_ros.datasets.poses import read_poses, read_tum
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.rig.types import CameraView, RigEstimate
from deviloc_ros.localization.types import Correspondences, PosePrior
from deviloc_ros.messages.stamped import transform_of
from deviloc_ros.offline.bag_cameras import named_topics
from deviloc_ros.offline.rig_file import read_rig
from deviloc_ros.offline.stats import read_usage
from deviloc_ros.ros.config.node_config import NodeConfig
from deviloc_ros.simulation.drive import mounted

SECOND, MS = 1_000_000_000, 1_000_000
START = 1_700_000_000 * SECOND
CAMERA = Camera("PINHOLE", 8, 6, (7.0, 7.0, 4.0, 3.0))
MOUNTS = {"left": mounted(0.5, 0.2), "right": mounted(0.5, -0.2)}
RIG = {
    "base": "body",
    "cameras": {
        name: {
            "topic": f"/{name}/image_raw",
            "camera": str(CAMERA),
            "extrinsics": {
                "translation": mount.translation.tolist(),
                "rotation": mount.quaternion_xyzw.tolist(),
            },
        }
        for name, mount in MOUNTS.items()
    },
}


def place(index: int) -> Transform:
    return Transform(Rotation.from_euler("z", 0.1 * index), np.array([1.0 * index, 0.5, 0.0]))


class Localizer(AtOnce):
    """Reads the base's pose off an image's brightness, 10 i + 10; keeps what it was asked."""

    map = type("Map", (), {"metric": True, "gravity_aligned": True})()
    asked: Sequence[tuple[list[Transform], PosePrior | None]] = ()

    @classmethod
    def load(cls, path: Path, config: object) -> Localizer:
        localizer = cls()
        cls.asked = localizer.calls = []
        return localizer

    def warm_up(self, num_images: int = 1) -> None:
        assert num_images == len(MOUNTS)

    def localize_rig(
        self,
        images: Sequence[np.ndarray[Any, Any]],
        cameras: Sequence[Camera],
        mounts: Sequence[Transform],
        prior: PosePrior | None = None,
    ) -> RigEstimate:
        self.calls.append((list(mounts), prior))
        map_from_base = place(int(images[0].flat[0]) // 10 - 1)
        matches = Correspondences(
            np.zeros((3, 2)), np.zeros((3, 3)), np.ones(3), np.zeros(3, int), np.zeros((3, 2))
        )
        views = [
            CameraView(CAMERA, (map_from_base @ mount).inverse(), matches, np.ones(3, bool), ["a"])
            for mount in mounts
        ]
        return RigEstimate(map_from_base, np.eye(6) * 1e-4, views, {"pose": 0.1})


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a stereo bag without camera_info and transforms, and of its rig.yaml.

    The second instant lacks the right image; right stamps are 4 ms later.
    """
    monkeypatch.setattr(deviloc_ros.localization, "Localizer", Localizer)
    monkeypatch.chdir(tmp_path)
    write_bag()
    Path("rig.yaml").write_text(json.dumps(RIG))
    return tmp_path


def write_bag(odometry: str | None = None) -> None:
    with BagWriter("bag") as writer:
        for index in range(4):
            stamp = START + index * SECOND // 2
            pixels = np.full((6, 8), 10 * index + 10, np.uint8)
            for name, late in (("left", 0), ("right", 4 * MS)):
                if (name, index) != ("right", 1):
                    image = types.image(stamp + late, f"cam_{name}", pixels)
                    writer.write(f"/{name}/image_raw", stamp + late + MS, image)
            for at in (stamp - 10 * MS, stamp + 10 * MS):
                if odometry == "/odom":
                    sent = types.odometry(at, "odom", "body", place(index))
                    writer.write("/odom", at + 2 * MS, sent)
                elif odometry == "/tf":
                    writer.write("/tf", at + 2 * MS, types.tf(at, "odom", "body", place(index)))


def bag(*arguments: str) -> tuple[int, Mapping[str, Any]]:
    code = main(["bag", "m.devmap", "bag", "--output", "out", *arguments])
    summary = Path("out/summary.json")
    return code, json.loads(summary.read_text()) if summary.exists() else {}


def test_a_stereo_bag_without_transforms_gives_poses_of_the_base(
    drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Localizer, "map", small_map(0))
    code, summary = bag("--rig", "rig.yaml", "--view")
    assert code == 0
    assert summary["view"] == "view.html"
    page = (drive / "out" / "view.html").read_text("utf-8")
    assert '"poses (7)"' in page
    assert '"95 % of positions (7)"' in page
    trajectory = read_tum(drive / "out" / "poses_tum.txt")
    assert [stamp for stamp, _ in trajectory] == [START + i * SECOND // 2 for i in range(4)]
    for index, (_, pose) in enumerate(trajectory):
        np.testing.assert_allclose(pose.matrix, place(index).matrix, atol=1e-12)
    cameras = read_poses(drive / "out" / "poses.txt")
    names = ["000/left", "000/right", "500000000/left"]
    assert [name[-len(end) :] for name, end in zip(cameras, names, strict=False)] == names
    right = cameras["1700000000.000000000/right"].inverse()
    np.testing.assert_allclose(right.matrix, (place(0) @ MOUNTS["right"]).matrix, atol=1e-9)
    assert summary["topics"] == {"left": "/left/image_raw", "right": "/right/image_raw"}
    assert summary["frame"] == "body"
    assert summary["frames"][0]["cameras"] == {"left": "3 of 3", "right": "3 of 3"}
    assert summary["frames"][1]["cameras"] == {"left": "3 of 3", "right": "no image"}
    assert {(item["search"], item["prior"]) for item in summary["frames"]} == {("GLOBAL", False)}


@pytest.mark.parametrize("source", ["/tf", "/odom"])
def test_odometry_carries_the_last_pose_and_late_images(
    drive: Path, capsys: pytest.CaptureFixture[str], source: str
) -> None:
    write_bag(source)
    code, summary = bag("--rig", "rig.yaml")
    assert code == 0
    assert f"odometry: {source}" in capsys.readouterr().err
    searched = [(item["search"], item["prior"]) for item in summary["frames"]]
    assert searched == [("GLOBAL", False), *[("TRACKING", True)] * 3]
    for index, (mounts, prior) in enumerate(Localizer.asked):
        np.testing.assert_allclose(mounts[0].matrix, MOUNTS["left"].matrix, atol=1e-12)
        if prior is not None:
            assert prior.map_from_body.distance_to(place(index))[0] < 1e-9
            assert prior.num_references == 3
    with Bag("out/poses") as poses:
        for _, message in poses.read(["/tf"]):
            assert message.transforms[0].child_frame_id == "odom"
            moved = transform_of(message.transforms[0].transform)
            assert moved.distance_to(Transform.identity()) == pytest.approx((0, 0), abs=1e-6)
    assert bag("--rig", "rig.yaml", "--set", "tracking.enabled=false")[0] == 0
    assert all(prior is None for _, prior in Localizer.asked)


def test_a_pose_that_a_person_gave_is_a_prior(drive: Path) -> None:
    write_bag()
    with Bag("bag") as old, BagWriter("given") as writer:
        given = types.pose_with_covariance(START, "map", place(2), np.diag([0.25] * 6))
        writer.write("/initialpose", START + SECOND // 4, given)
        for recorded, message in old.read(list(old.topics)):
            writer.write(recorded.topic, recorded.stamp, message)
    assert main(["bag", "m", "given", "--rig", "rig.yaml", "--output", "out"]) == 0
    priors = [prior for _, prior in Localizer.asked]
    assert [prior is not None for prior in priors[:2]] == [False, True]
    assert priors[1] is not None
    assert priors[1].map_from_body.distance_to(place(2))[0] < 1e-9


def test_the_nodes_parameter_file_names_the_cameras(drive: Path) -> None:
    places = [mount.translation.tolist() for mount in MOUNTS.values()]
    turns = [mount.quaternion_xyzw.tolist() for mount in MOUNTS.values()]
    parameters = {
        "cameras": ["right", "left"],
        "tf": {"publish": "none"},
        "extrinsics": {
            "source": "parameters",
            "translation": places[1] + places[0],
            "rotation": turns[1] + turns[0],
        },
    }
    Path("node.yaml").write_text(json.dumps({"/**": {"ros__parameters": parameters}}))
    code, _ = bag("--rig", "node.yaml")
    assert code == 2  # the bag has no camera_info
    with Bag("bag") as old, BagWriter("bag") as writer:
        for name in MOUNTS:
            info = types.camera_info(START, name, CAMERA)
            writer.write(f"/{name}/camera_info", START, info)
        for recorded, message in old.read(list(old.topics)):
            writer.write(recorded.topic, recorded.stamp, message)
    code, summary = bag("--rig", "node.yaml")
    assert (code, summary["topics"]["left"]) == (0, "/left/image_raw")
    np.testing.assert_allclose(Localizer.asked[0][0][0].matrix, MOUNTS["right"].matrix, atol=1e-12)


def test_two_topics_are_a_rig_that_the_bags_transforms_place(drive: Path) -> None:
    with Bag("bag") as old, BagWriter("bag") as writer:
        for name, mount in MOUNTS.items():
            info = types.camera_info(START, f"cam_{name}", CAMERA)
            writer.write(f"/{name}/camera_info", START, info)
            placed = types.tf(START, "base_link", f"cam_{name}", mount)
            writer.write("/tf_static", START, placed, latched=True)
        for recorded, message in old.read(list(old.topics)):
            writer.write(recorded.topic, recorded.stamp, message)
    code, summary = bag("--topic", "/right/image_raw", "--topic", "/left/image_raw")
    assert (code, summary["frame"], list(summary["topics"])) == (0, "base_link", ["right", "left"])
    np.testing.assert_allclose(Localizer.asked[0][0][0].matrix, MOUNTS["right"].matrix, atol=1e-12)


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/image"], [""]),
        (["/cam0/image_raw", "/cam1/image_raw"], ["cam0", "cam1"]),
        (["/rig/left/image/compressed", "/rig/right/image/compressed"], ["left", "right"]),
        (["/image", "/rear/image"], ["image", "rear_image"]),
        (["/a/0/image", "/a/1/image"], ["camera_0", "camera_1"]),
        (["x=/a", "y=/b"], ["x", "y"]),
    ],
)
def test_cameras_are_named_after_what_tells_their_topics_apart(
    topics: list[str], names: list[str]
) -> None:
    assert list(named_topics(topics)) == names


@pytest.mark.parametrize("topics", [["x=/a", "/b"], ["x=/a", "x=/b"], ["/a/i", "/a/i"]])
def test_topics_that_are_not_told_apart_are_refused(topics: list[str]) -> None:
    with pytest.raises(InputError, match="NAME=TOPIC"):
        named_topics(topics)


def changed(*path: str, to: object = None) -> dict[str, Any]:
    """Return rig.yaml with a key set, or taken away."""
    rig: dict[str, Any] = json.loads(json.dumps(RIG))
    level = rig
    for name in path[:-1]:
        level = level[name]
    level.pop(path[-1], None)
    if to is not None:
        level[path[-1]] = to
    return rig


@pytest.mark.parametrize(
    ("rig", "words"),
    [
        (changed("camera", to=1), ["camera is not a known key", "base, sync, cameras"]),
        (changed("cameras", "left", "topik", to=1), ["cameras.left.topik", "camera_info"]),
        (changed("sync", to={"late": 1}), ["sync.late", "tolerance, timeout"]),
        (changed("cameras", "left", "topic"), ["cameras.left.topic is missing"]),
        (changed("cameras", "left", "topic", to="/x"), ["/x is no image topic", "/left/image_raw"]),
        (changed("cameras", "left", "camera", to="P"), ["cameras.left.camera", "'P'"]),
        (changed("cameras", to={}), ["cameras is empty"]),
        (changed("cameras", to={"a b": {"topic": "/left/image_raw"}}), ["a b", "letters"]),
        (
            changed("cameras", "right", "extrinsics", "rotation", to=[0, 0, 0, 0]),
            ["cameras.right.extrinsics.rotation", "unit quaternion"],
        ),
        (
            changed("cameras", "right", "extrinsics"),
            ["'body' with 'cam_right'", "camera right", "--rig"],
        ),
        ({"/**": {"ros__parameters": {"camera": ["a"]}}}, ["camera is not a known key"]),
        ([1], ["key: value"]),
    ],
)
def test_a_wrong_rig_is_one_line_before_any_work(
    drive: Path, capsys: pytest.CaptureFixture[str], rig: object, words: list[str]
) -> None:
    Path("rig.yaml").write_text(json.dumps(rig))
    code, _ = bag("--rig", "rig.yaml")
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1), error
    for word in words:
        assert word in error
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [1]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases"),
        ("base: 2026-13-45", "not a readable YAML file"),
        ("[" * 3000, "not a readable YAML file"),
        ("base: '\\xff'", "cameras is missing"),
        ("", "cameras is missing"),
    ],
)
def test_a_rig_file_is_read_as_carefully_as_a_configuration(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_rig(path, NodeConfig)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topic", "/left/image_raw", "--topic", "/right/image_raw"], "no camera_info"),
        (["--rig", "rig.yaml", "--topic", "/left/image_raw"], "--topic NAME=TOPIC"),
        (["--rig", "rig.yaml", "--topic", "front=/x"], "the cameras are left, right"),
        (["--rig", "rig.yaml", "--camera", str(CAMERA)], "of a single camera"),
        (["--rig", "rig.yaml", "--odometry", "/odom"], "no nav_msgs/Odometry"),
        (["--rig", "rig.yaml", "--set", "gnss.enabled=true"], "NavSatFix"),
        (["--rig", "absent.yaml"], "absent.yaml"),
    ],
)
def test_arguments_that_do_not_fit_the_bag_are_told(
    drive: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, _ = bag(*arguments)
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1), error
    assert words in error


def test_what_a_bag_used_is_what_pruning_keeps(drive: Path) -> None:
    code, summary = bag("--rig", "rig.yaml")
    assert code == 0
    used = sum(len(frame["references"]) for frame in summary["frames"])
    assert sum(read_usage([Path("out/summary.json")]).values()) == used > 0
