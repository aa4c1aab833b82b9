"""Bags: what is written is read back, what is damaged is told, and poses come out as promised."""

from __future__ import annotations

import errno
import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from at_once import AtOnce
from scipy.spatial.transform import Rotation

import deviloc_ros.localization
from deviloc_ros.bags import types
from deviloc_ros.bags.reader import Bag, readable
from deviloc_ros.bags.topics import image_topic, info_topic
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.cli.main import main
from deviloc_ros.datasets.poses import read_poses, read_tum
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.localization.types import (
    Correspondences,
    FailureReason,
    LocalizationFailure,
    PoseEstimate,
)
from deviloc_ros.messages.camera_info import camera_from_info
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.stamped import transform_of
from deviloc_ros.offline.bag import localize_bag
from deviloc_ros.offline.bag_cameras import CameraChoice
from deviloc_ros.offline.bag_robot import bag_robot
from deviloc_ros.robot.config import FrameConfig, RobotConfig
from deviloc_ros.simulation.drive import mounted

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CAMERA = Camera("PINHOLE", 8, 6, (7.0, 7.0, 4.1, 3.2))


def pose_of(index):
    return Transform(Rotation.from_euler("z", 0.1 * index), np.array([1.0 * index, 0.5, 0.1]))


def write_drive(path, storage="mcap", count=5, topic="/camera/image_raw", odometry=True):
    """Write a bag whose i-th image is filled with 10 i + 10, and the poses odom_from_base."""
    with BagWriter(path, storage) as writer:
        static = types.tf(START, "base_link", "camera", mounted())
        writer.write("/tf_static", START, static, latched=True)
        for index in range(count):
            stamp = START + index * SECOND // 4
            pixels = np.full((6, 8, 3), 10 * index + 10, np.uint8)
            if odometry:
                transform = types.tf(stamp, "odom", "base_link", pose_of(index))
                writer.write("/tf", stamp + 1000, transform)
            writer.write(
                topic.rsplit("/", 1)[0] + "/camera_info",
                stamp + 2000,
                types.camera_info(stamp, "camera", CAMERA),
            )
            writer.write(topic, stamp + 3000, types.image(stamp, "camera", pixels))
    return path


class KnownPoses(AtOnce):
    """A localizer that reads the index off the image's brightness; image 2 fails."""

    def __init__(self, base_from_camera=None):
        self.base_from_camera = base_from_camera or mounted()
        self.cameras = []

    def localize(self, image, camera, prior=None):
        index = int(image[0, 0, 0]) // 10 - 1
        self.cameras.append(camera)
        if index == 2:
            return LocalizationFailure(FailureReason.TOO_FEW_INLIERS, "3 of at least 30")
        if index == 4 and getattr(self, "interrupts", False):
            raise KeyboardInterrupt
        shift = Transform(Rotation.from_euler("z", 0.3), np.array([5.0, 6.0, 0.0]))
        map_from_camera = shift @ pose_of(index) @ self.base_from_camera
        empty = np.empty
        matches = Correspondences(
            empty((9, 2)), empty((9, 3)), np.ones(9), np.zeros(9, np.int64), empty((9, 2))
        )
        return PoseEstimate(
            map_from_camera.inverse(), np.eye(6) * 1e-4, matches, np.ones(9, bool), matches,
            ["a.png"], {"extract": 0.1},
        )  # fmt: skip


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_what_is_written_is_read_back(tmp_path, storage):
    path = write_drive(tmp_path / "drive", storage)
    with Bag(path) as bag:
        topic = image_topic(bag)
        assert (topic.name, topic.count) == ("/camera/image_raw", 5)
        assert info_topic(bag, topic).name == "/camera/camera_info"
        assert bag.span == (START, START + SECOND + 3000)
        received = [item.stamp for item in bag.raw()]
        assert received == sorted(received)
        assert len(received) == 16
        images = list(bag.read([topic.name]))
        assert [types.stamp_of(message) for _, message in images] == [
            START + index * SECOND // 4 for index in range(5)
        ]
        np.testing.assert_array_equal(pixels_from_message(images[3][1]), np.full((6, 8, 3), 40))
        (_, info), *_ = bag.read(["/camera/camera_info"])
        assert camera_from_info(info, (8, 6)) == CAMERA
        (_, tf), *_ = bag.read(["/tf_static"])
        found = transform_of(tf.transforms[0].transform)
        np.testing.assert_allclose(found.matrix, mounted().matrix, atol=1e-15)
    single = next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))
    with Bag(single) as bag:
        assert len(list(bag.raw())) == 16


def test_a_failed_recording_leaves_the_old_bag_and_nothing_else(tmp_path):
    path = write_drive(tmp_path / "drive", count=2)

    def fail_half_way():
        with BagWriter(path) as writer:
            writer.write("/tf", 1, types.tf(1, "a", "b", Transform.identity()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert [item.name for item in tmp_path.iterdir()] == ["drive"]
    with Bag(path) as bag:
        assert image_topic(bag).count == 2


def test_a_link_stays_and_the_bag_that_it_names_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "drive").symlink_to("disk/drive")
    for count in (2, 3):
        write_drive(tmp_path / "drive", count=count)
        assert (tmp_path / "drive").is_symlink()
        with Bag(tmp_path / "disk/drive") as bag:
            assert image_topic(bag).count == count


def test_what_is_no_bag_is_not_overwritten(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="is not a rosbag2"):
        BagWriter(tmp_path / "photos")


def damaged(tmp_path, kind):
    path = tmp_path / "bag"
    if kind == "absent":
        return path
    if kind == "empty folder":
        path.mkdir()
        return path
    if kind == "text":
        (tmp_path / "bag.mcap").write_text("this is no bag")
        return tmp_path / "bag.mcap"
    if kind == "ros1":
        (tmp_path / "old.bag").write_bytes(b"#ROSBAG V2.0\n")
        return tmp_path / "old.bag"
    if kind == "other suffix":
        (tmp_path / "bag.txt").write_text("x")
        return tmp_path / "bag.txt"
    storage = "sqlite3" if "db3" in kind else "mcap"
    write_drive(path, storage)
    file = next(item for item in path.iterdir() if item.suffix in (".mcap", ".db3"))
    if kind.startswith("cut"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if kind == "gone mcap":
        file.unlink()
    if kind == "bad metadata":
        (path / "metadata.yaml").write_text("rosbag2_bagfile_information: [1, 2")
    return path


@pytest.mark.parametrize(
    "kind",
    [
        *("absent", "empty folder", "text", "ros1", "other suffix"),
        *("cut mcap", "cut db3", "gone mcap", "bad metadata"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path, kind):
    path = damaged(tmp_path, kind)
    with pytest.raises(InputError) as error, Bag(path) as bag:
        list(bag.raw())
    assert "\n" not in str(error.value)
    assert path.name in str(error.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("name: /camera/image_raw", "name: 0.5"),
        ("type: sensor_msgs/msg/Image\n", "type: [1]\n"),
        ("message_count: 5", "message_count: many"),
        ("message_count: 5", "message_count: -5"),
        ("nanoseconds_since_epoch:", "nanoseconds_since_epoch: x #"),
        ("nanoseconds_since_epoch:", "nanoseconds_since_epoch: 1.5e300 #"),
    ],
)
def test_metadata_of_other_types_is_refused(tmp_path, old, new):
    path = write_drive(tmp_path / "bag")
    metadata = path / "metadata.yaml"
    text = metadata.read_text()
    assert old in text
    metadata.write_text(text.replace(old, new))
    with pytest.raises(InputError, match="not a readable bag"):
        Bag(path)


@pytest.mark.parametrize(
    "change", ["timestamp = 'noon'", "timestamp = 1e300", "data = 7", "data = 'text'"]
)
def test_messages_without_stamp_or_data_are_refused(tmp_path, change):
    """SQLite keeps a value of any type in any column."""
    path = write_drive(tmp_path / "bag", "sqlite3")
    with sqlite3.connect(path / "bag.db3") as database:
        database.execute(f"UPDATE messages SET {change} WHERE id = 3")
    with Bag(path) as bag, pytest.raises(InputError, match="without stamp or data"):
        list(bag.raw())


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), RuntimeError("zstd")])
def test_whatever_the_library_raises_is_one_line(error):
    with pytest.raises(InputError, match="place: not a readable bag"), readable(Path("place")):
        raise error


def test_a_full_disk_is_no_damage():
    with pytest.raises(OSError, match="No space"), readable(Path("place")):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_message_that_is_none_is_told(tmp_path):
    path = write_drive(tmp_path / "drive", "sqlite3")
    file = next(path.glob("*.db3"))
    with sqlite3.connect(file) as database:
        database.execute("UPDATE messages SET data = substr(data, 1, 30)")
    database.close()
    with Bag(path) as bag, pytest.raises(InputError, match="is not a sensor_msgs/msg/Image"):
        list(bag.read(["/camera/image_raw"]))


def test_topics_are_chosen_and_their_absence_is_told(tmp_path):
    with BagWriter(tmp_path / "two") as writer:
        for name in ("/left/image", "/right/image"):
            writer.write(name, 1, types.image(1, "camera", np.zeros((6, 8), np.uint8)))
    with Bag(tmp_path / "two") as bag:
        with pytest.raises(InputError, match="/left/image, /right/image; choose with --topic"):
            image_topic(bag)
        topic = image_topic(bag, "left/image")
        with pytest.raises(InputError, match=r"/left/camera_info.*--camera"):
            info_topic(bag, topic)
        with pytest.raises(InputError, match="no image topic; there are: /left/image"):
            image_topic(bag, "/tf")


def test_poses_of_base_and_camera_come_out_in_all_forms(tmp_path):
    path = write_drive(tmp_path / "drive")
    localizer = KnownPoses()
    with Bag(path) as bag:
        run = localize_bag(localizer, tmp_path / "m.devmap", bag_robot(bag, RobotConfig()))
    output = tmp_path / "result"
    output.mkdir()
    run.write(output)
    assert run.body == "base_link"
    assert localizer.cameras == [CAMERA] * 5
    assert "4 of 5 images" in run.line()
    assert "1 TOO_FEW_INLIERS" in run.line()

    shift = Transform(Rotation.from_euler("z", 0.3), np.array([5.0, 6.0, 0.0]))
    trajectory = read_tum(output / "poses_tum.txt")
    assert [stamp for stamp, _ in trajectory] == [START + i * SECOND // 4 for i in (0, 1, 3, 4)]
    for (_, pose), index in zip(trajectory, (0, 1, 3, 4), strict=True):
        np.testing.assert_allclose(pose.matrix, (shift @ pose_of(index)).matrix, atol=1e-9)
    cameras = read_poses(output / "poses.txt")
    assert list(cameras)[1] == "1700000000.250000000"
    np.testing.assert_allclose(
        cameras["1700000000.250000000"].inverse().matrix,
        (shift @ pose_of(1) @ mounted()).matrix,
        atol=1e-9,
    )
    summary = json.loads((output / "summary.json").read_text())
    assert (summary["images"], summary["localized"], summary["frame"]) == (5, 4, "base_link")
    assert summary["frames"][2]["reason"] == "TOO_FEW_INLIERS"
    covariance = np.array(summary["frames"][0]["covariance"]).reshape(6, 6)
    # The lever of the camera turns its rotation's variance into the base's position.
    assert covariance[0, 0] > 1e-4
    with Bag(output / "poses") as bag:
        (_, first), *_ = bag.read(["/localization/pose"])
        assert first.header.frame_id == "map"
        assert types.stamp_of(first) == START
        np.testing.assert_allclose(first.pose.covariance, covariance.ravel())
        for _, tf in bag.read(["/tf"]):
            item = tf.transforms[0]
            assert (item.header.frame_id, item.child_frame_id) == ("map", "odom")
            found = transform_of(item.transform)
            np.testing.assert_allclose(found.matrix, shift.matrix, atol=1e-9)


def test_without_transforms_the_camera_is_reported_and_named(tmp_path):
    with BagWriter(tmp_path / "bare") as writer:
        for index in range(2):
            pixels = np.full((6, 8, 3), 10 * index + 10, np.uint8)
            writer.write("/image", START + index, types.image(START + index, "optical", pixels))
    with Bag(tmp_path / "bare") as bag:
        robot = bag_robot(bag, RobotConfig(), CameraChoice(camera=CAMERA))
        run = localize_bag(KnownPoses(), tmp_path / "m", robot)
        assert "poses of optical in map" in run.line()
        assert run.frames[1].map_from_body.distance_to(
            run.frames[1].camera_poses[""].inverse()
        ) == pytest.approx((0, 0), abs=1e-9)
        config = RobotConfig(frames=FrameConfig(base="base_link"))
        with pytest.raises(InputError, match="--base base_link"):
            bag_robot(bag, config, CameraChoice(camera=CAMERA))


def test_an_image_that_cannot_be_used_is_one_failure_not_the_end(tmp_path):
    with BagWriter(tmp_path / "odd") as writer:
        info = types.camera_info(START, "optical", CAMERA)
        writer.write("/camera_info", START, info)
        good = types.image(START, "optical", np.full((6, 8, 3), 10, np.uint8))
        small = types.image(START + 1, "optical", np.full((4, 4, 3), 10, np.uint8))
        strange = types.image(START + 2, "optical", np.full((6, 8, 3), 10, np.uint8))
        strange.encoding = "32FC3"
        for offset, sent in enumerate((good, small, strange)):
            writer.write("/image", START + offset, sent)
    with Bag(tmp_path / "odd") as bag:
        run = localize_bag(KnownPoses(), tmp_path, bag_robot(bag, RobotConfig()))
    assert [frame.reason for frame in run.frames] == ["", "BAD_CALIBRATION", "BAD_IMAGE"]


def test_an_interrupted_run_keeps_what_was_done(tmp_path):
    path = write_drive(tmp_path / "drive")
    localizer = KnownPoses()
    localizer.interrupts = True
    with Bag(path) as bag:
        run = localize_bag(localizer, tmp_path, bag_robot(bag, RobotConfig()))
    assert run.interrupted
    assert len(run.frames) == 4
    run.write(tmp_path)
    assert len(read_tum(tmp_path / "poses_tum.txt")) == 3
    assert json.loads((tmp_path / "summary.json").read_text())["interrupted"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bag", "m.devmap", "nowhere", "--output", "o"], "nowhere: there is no such bag"),
        (["bag", "m.devmap", "drive", "--output", "o", "--topic", "/x"], "/x is no image topic"),
        (["bag", "m.devmap", "drive", "--output", "o", "--camera", "P"], "camera 'P'"),
        (["bag", "m.devmap", "drive", "--output", "file"], "file: is a file"),
        (["bag", "absent.devmap", "drive", "--output", "o"], "absent.devmap"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    write_drive(tmp_path / "drive", count=1)
    (tmp_path / "file").touch()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_images_that_share_a_stamp_keep_their_poses_apart(tmp_path):
    path = tmp_path / "drive"
    with BagWriter(path) as writer:
        for index in (0, 1, 3):
            pixels = np.full((6, 8, 3), 10 * index + 10, np.uint8)
            info = types.camera_info(0, "camera", CAMERA)
            writer.write("/camera/camera_info", START + index, info)
            writer.write("/camera/image_raw", START + index, types.image(0, "camera", pixels))
    told = []
    with Bag(path) as bag:
        robot = bag_robot(bag, RobotConfig())
        run = localize_bag(KnownPoses(), tmp_path / "m.devmap", robot, tell=told.append)
    run.write(tmp_path)
    names = ["0.000000000", "0.000000000_1", "0.000000000_2"]
    assert list(read_poses(tmp_path / "poses.txt")) == names
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [frame["name"] for frame in summary["frames"]] == names
    assert len(read_tum(tmp_path / "poses_tum.txt")) == 3
    assert len([text for text in told if "carry no stamp" in text]) == 1


class CutShort(BagWriter):
    """Writes the data of some messages cut short, as a recorder on a full disk does."""

    def __init__(self, path, cut):
        super().__init__(path, "sqlite3")
        self._cut = cut

    def write(self, topic, stamp, sent, latched=False):
        if (topic, stamp) in self._cut:
            data = types.TYPESTORE.serialize_cdr(sent, sent.__msgtype__)
            self._writer.write(self._connections[topic], stamp, bytes(data)[:25])
        else:
            super().write(topic, stamp, sent, latched)


def write_cut(path, cut):
    """Write five images with their camera_info and a transform; of index i at second i."""
    with CutShort(path, {(topic, START + second * SECOND) for topic, second in cut}) as writer:
        for index in range(5):
            stamp = START + index * SECOND
            transform = types.tf(stamp, "odom", "base_link", pose_of(index))
            writer.write("/tf", stamp, transform)
            writer.write("/camera_info", stamp, types.camera_info(stamp, "camera", CAMERA))
            pixels = np.full((6, 8, 3), 10 * index + 10, np.uint8)
            writer.write("/image_raw", stamp, types.image(stamp, "camera", pixels))
    return path


def run_bag(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(deviloc_ros.localization.Localizer, "load", lambda *_: KnownPoses())
    code = main(["bag", "m.devmap", str(tmp_path / "bag"), "--output", str(tmp_path / "out")])
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    return code, summary, capsys.readouterr().err


@pytest.mark.parametrize("topic", ["/image_raw", "/camera_info", "/tf"])
def test_a_message_that_is_none_costs_itself_alone(tmp_path, monkeypatch, capsys, topic):
    write_cut(tmp_path / "bag", {(topic, 1), (topic, 3)})
    code, summary, said = run_bag(tmp_path, monkeypatch, capsys)
    images = 3 if topic == "/image_raw" else 5
    assert (code, summary["images"], summary["damage"]) == (0, images, "")
    named = f"{topic}: the message received at {START + SECOND} ns is not a"
    assert named in said
    assert len(summary["left_out"]) == (0 if topic == "/tf" else 2)
    assert summary["localized"] == images - 1
    assert len(read_tum(tmp_path / "out/poses_tum.txt")) == images - 1


def test_the_first_message_may_be_none(tmp_path, monkeypatch, capsys):
    write_cut(tmp_path / "bag", set())
    with sqlite3.connect(tmp_path / "bag/bag.db3") as database:
        database.execute("UPDATE messages SET data = substr(data, 1, 25) WHERE id <= 3")
    code, summary, _ = run_bag(tmp_path, monkeypatch, capsys)
    assert (code, summary["images"], len(summary["left_out"])) == (0, 4, 2)


def test_what_was_localized_before_the_damage_is_written(tmp_path, monkeypatch, capsys):
    write_cut(tmp_path / "bag", set())
    with sqlite3.connect(tmp_path / "bag/bag.db3") as database:
        database.execute("UPDATE messages SET data = 7 WHERE id = 12")
    code, summary, said = run_bag(tmp_path, monkeypatch, capsys)
    assert code == 2
    assert summary["images"] == 3
    assert "without stamp or data" in summary["damage"]
    assert "out holds what came before it" in said
