"""Images out of a bag: which are taken, what stands beside them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from deviloc_ros.bags import types
from deviloc_ros.bags.extraction.extract import ExtractOptions, extract
from deviloc_ros.bags.extraction.frame_choice import ChoiceOptions
from deviloc_ros.bags.extraction.sources import CameraSource
from deviloc_ros.bags.extraction.written import read_rig
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.cli.main import main
from deviloc_ros.datasets.fixes import read_fixes
from deviloc_ros.datasets.poses import read_positions
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.drive import mounted

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CAMERA = Camera("PINHOLE", 8, 6, (7.0, 7.0, 4.1, 3.2))


def odom_from_base(index: int) -> Transform:
    """Return a pose 0.3 m further for each image, turned so that the mount's place matters."""
    return Transform(Rotation.from_euler("z", 0.5), np.array([0.3 * index, 1.0, 0.0]))


def write_bag(path: Path, count: int = 10, odometry: bool = True, odd_size: bool = False) -> Path:
    """Write a bag with an image every 0.25 s, the i-th of gray value 10 i + 5."""
    with BagWriter(path) as writer:
        static = types.tf(START, "base_link", "camera", mounted())
        writer.write("/tf_static", START, static, latched=True)
        for index in range(count):
            stamp = START + index * SECOND // 4
            if odometry:
                pose = types.tf(stamp, "odom", "base_link", odom_from_base(index))
                writer.write("/tf", stamp, pose)
            info = types.camera_info(stamp, "camera", CAMERA)
            writer.write("/front/camera_info", stamp, info)
            size = (7, 9) if odd_size and index == 8 else (6, 8)
            pixels = np.full((*size, 3), (10 * index + 5, 0, 0), np.uint8)
            writer.write("/front/image_raw", stamp, types.image(stamp, "camera", pixels))
    return path


def indices(folder: Path) -> list[int]:
    names = sorted(int(path.stem) for path in (folder / "images").iterdir())
    return [(name - START) * 4 // SECOND for name in names]


def test_by_distance_where_the_place_is_known(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag")) as bag:
        result = extract(bag, tmp_path / "out", ExtractOptions(choice=ChoiceOptions(distance=0.85)))
    assert indices(tmp_path / "out") == [0, 3, 6, 9]
    assert [str(START + i * SECOND // 4) + ".png" for i in (0, 3, 6, 9)] == list(result.names)
    positions = read_positions(tmp_path / "out" / "positions.txt")
    assert list(positions) == list(result.names)
    for index, name in zip((0, 3, 6, 9), result.names, strict=True):
        expected = (odom_from_base(index) @ mounted()).translation
        np.testing.assert_allclose(positions[name], expected, atol=1e-9)
        pixels = cv2.imread(str(tmp_path / "out" / "images" / name), cv2.IMREAD_UNCHANGED)
        assert pixels[0, 0].tolist() == [0, 0, 10 * index + 5]


def test_by_time_where_it_is_not(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", odometry=False)) as bag:
        result = extract(bag, tmp_path / "out", ExtractOptions(choice=ChoiceOptions(every=0.6)))
    assert indices(tmp_path / "out") == [0, 3, 6, 9]
    assert result.positions == {}
    assert not (tmp_path / "out" / "positions.txt").exists()


def test_the_camera_is_as_map_build_takes_it(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", count=2)) as bag:
        extract(bag, tmp_path / "out", ExtractOptions())
    read = Camera.parse((tmp_path / "out" / "camera.txt").read_text().strip())
    assert (read.width, read.height) == (8, 6)
    points = np.array([[0.1, 0.2, 1.0], [-0.3, 0.1, 2.0]])
    np.testing.assert_allclose(read.project(points), CAMERA.project(points))


def test_an_image_of_another_size_is_passed_over(tmp_path: Path) -> None:
    with Bag(write_bag(tmp_path / "bag", odd_size=True)) as bag:
        result = extract(bag, tmp_path / "out", ExtractOptions(choice=ChoiceOptions(distance=0.1)))
    assert indices(tmp_path / "out") == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    (left_out,) = result.left_out
    assert left_out.stamp == START + 2 * SECOND
    assert left_out.reason == "the image is 9 x 7, the camera_info says 8 x 6"


@pytest.mark.parametrize("topic", ["/front/camera_info", "/front/image_raw"])
def test_messages_that_the_index_promises_and_the_file_lacks(tmp_path: Path, topic: str) -> None:
    path = write_bag(tmp_path / "bag")
    metadata = path / "metadata.yaml"
    # The bag library takes a topic of other quality of service for another one.
    content = yaml.safe_load(metadata.read_text())
    for item in content["rosbag2_bagfile_information"]["topics_with_message_count"]:
        if item["topic_metadata"]["name"] == topic:
            item["topic_metadata"]["offered_qos_profiles"] = []
    metadata.write_text(yaml.safe_dump(content))
    with Bag(path) as bag, pytest.raises(InputError, match=f"{topic} has no messages, though"):
        extract(bag, tmp_path / "out", ExtractOptions())


class Undecodable(BagWriter):
    """Writes the data of some messages cut short, as a recorder on a full disk does."""

    def write_cut(self, topic: str, stamp: int, message: object) -> None:
        connection = self._connections[topic]
        raw = types.TYPESTORE.serialize_cdr(message, message.__msgtype__)  # type: ignore[attr-defined]
        self._writer.write(connection, stamp, bytes(raw)[:30])


def write_compressed(path: Path, broken: set[int], cut: set[int], count: int = 6) -> Path:
    """Write a bag of PNG images, some of which are no images and some no messages at all."""
    with Undecodable(path) as writer:
        for index in range(count):
            stamp = START + index * SECOND
            writer.write("/camera_info", stamp, types.camera_info(stamp, "camera", CAMERA))
            data = cv2.imencode(".png", np.full((6, 8), 10 * index + 5, np.uint8))[1]
            data = data[:20] if index in broken else data
            header = types.image(stamp, "camera", np.zeros((1, 1), np.uint8)).header
            kind = types.TYPESTORE.types["sensor_msgs/msg/CompressedImage"]
            message = kind(header=header, format="png", data=np.asarray(data).ravel())
            if index in cut and "/image/compressed" in writer._connections:
                writer.write_cut("/image/compressed", stamp, message)
            else:
                writer.write("/image/compressed", stamp, message)
    return path


def test_a_broken_image_is_named_and_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_compressed(tmp_path / "bag", broken={0, 3}, cut={4})
    command = ["extract", str(tmp_path / "bag"), "--output", str(tmp_path / "out")]
    assert main([*command, "--camera-info", "/camera_info"]) == 0
    out, err = capsys.readouterr()
    assert "3 of 6 images, 3 could not be used" in out
    lines = [line for line in err.splitlines() if line.startswith("deviloc:")]
    assert len(lines) == 3
    for index, words in (
        (0, "not a readable image"),
        (3, "not a readable"),
        (4, "is not a sensor"),
    ):
        (line,) = (line for line in lines if f"at {START + index * SECOND} ns" in line)
        assert line.startswith("deviloc: left out: /image/compressed at")
        assert words in line
    assert sorted(path.name for path in (tmp_path / "out/images").iterdir()) == [
        f"{START + index * SECOND}.png" for index in (1, 2, 5)
    ]


def test_a_bag_without_a_usable_image_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_compressed(tmp_path / "bag", broken=set(range(6)), cut=set())
    command = ["extract", str(tmp_path / "bag"), "--output", str(tmp_path / "out")]
    assert main([*command, "--camera-info", "/camera_info"]) == 2
    assert "none of 6 images can be used" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_advice_is_what_extract_can_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_compressed(tmp_path / "bag", broken=set(), cut=set(), count=1)
    command = ["extract", str(tmp_path / "bag"), "--output", str(tmp_path / "out")]
    assert main([*command, "--camera-info", "/none"]) == 2
    err = capsys.readouterr().err
    assert err.endswith("; choose with --camera-info\n")


def test_images_of_another_bag_are_never_mixed_in(tmp_path: Path) -> None:
    write_bag(tmp_path / "bag", count=2)
    command = ["extract", str(tmp_path / "bag"), "--output", str(tmp_path / "out")]
    assert [main(command), main(command)] == [0, 2]


def test_what_was_interrupted_is_done_again(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with Bag(write_bag(tmp_path / "bag")) as bag:
        with pytest.raises(KeyboardInterrupt):
            extract(bag, tmp_path / "out", ExtractOptions(), interrupt)
        assert not (tmp_path / "out" / "images").exists()
        extract(bag, tmp_path / "out", ExtractOptions(choice=ChoiceOptions(distance=0.85)))
    assert indices(tmp_path / "out") == [0, 3, 6, 9]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--distance", "-1"], "--distance -1: must be 0 or more"),
        (["--every", "nan"], "--every nan: must be 0 or more"),
        (["--topic", "/rear"], "/rear is no image topic; there are: /front/image_raw"),
    ],
)
def test_command_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    write_bag(tmp_path / "bag", count=2)
    command = ["extract", str(tmp_path / "bag"), "--output", str(tmp_path / "out"), *arguments]
    assert main(command) == 2
    assert words in capsys.readouterr().err


def test_command_line_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_bag(tmp_path / "bag")
    command = ["extract", str(tmp_path / "bag"), "--output", str(tmp_path / "out")]
    assert main([*command, "--distance", "0.85"]) == 0
    assert f"{tmp_path / 'out'}: 4 of 10 images, 4 with their place" in capsys.readouterr().out


@pytest.mark.parametrize("stamp", [0, 7 * SECOND], ids=["zero", "standing still"])
def test_images_that_share_a_stamp_are_kept_apart_and_told(tmp_path: Path, stamp: int) -> None:
    path = tmp_path / "bag"
    with BagWriter(path) as writer:
        info = types.camera_info(stamp, "camera", CAMERA)
        writer.write("/camera/camera_info", SECOND, info)
        for index in range(4):
            pixels = np.full((CAMERA.height, CAMERA.width), 10 * index, np.uint8)
            image = types.image(stamp, "camera", pixels)
            writer.write("/camera/image_raw", SECOND * (index + 1), image)
    told: list[str] = []
    with Bag(path) as bag:
        options = ExtractOptions(choice=ChoiceOptions(every=1.5))
        found = extract(bag, tmp_path / "out", options, tell=told.append)
    assert found.names == (f"{stamp}.png", f"{stamp}_1.png")
    assert len(list((tmp_path / "out" / "images").iterdir())) == 2
    about = [text for text in told if "_1, _2" in text]
    assert len(about) == 1
    assert ("no stamp" if stamp == 0 else "several images") in about[0]


def test_fixes_are_placed_along_the_odometry(tmp_path: Path) -> None:
    antenna = np.array([-0.5, 0.2, 1.8])
    with BagWriter(tmp_path / "bag") as writer:
        for child, mount in (("camera", mounted()), ("gps", Transform.identity())):
            place = mount.translation if child == "camera" else antenna
            static = types.tf(START, "base_link", child, Transform(mount.rotation, place))
            writer.write("/tf_static", START, static, latched=True)
        for index in range(4):
            stamp = START + index * SECOND // 4
            pose = types.tf(stamp, "odom", "base_link", odom_from_base(index))
            writer.write("/tf", stamp, pose)
            writer.write("/front/camera_info", stamp, types.camera_info(stamp, "camera", CAMERA))
            gray = np.full((6, 8), 10 * index, np.uint8)
            writer.write("/front/image_raw", stamp, types.image(stamp, "camera", gray))
            # The second has no fix, and the third is no place on the earth.
            writer.write("/fix", stamp, fix(stamp, "gps", 52.0 + 100 * (index == 2), index == 1))
    told: list[str] = []
    with Bag(tmp_path / "bag") as bag:
        options = ExtractOptions(choice=ChoiceOptions(distance=0.5))
        result = extract(bag, tmp_path / "out", options, tell=told.append)
    assert indices(tmp_path / "out") == [0, 2]
    read = read_fixes(tmp_path / "out" / "fixes.txt")
    # That of the last moment belongs to the image before, along which the robot went on by 0.3 m.
    assert [item.image for item in read] == list(result.names)
    for item, image, moment in zip(read, (0, 2), (0, 3), strict=True):
        arm = (odom_from_base(image) @ mounted()).inverse() @ odom_from_base(moment)
        np.testing.assert_allclose(item.from_camera, arm.apply(antenna), atol=1e-9)
        np.testing.assert_allclose(item.place, [52.0, 13.0, 40.0])
        np.testing.assert_allclose(item.sigmas, [2.0, 2.0, 3.0])
    assert any("fixes that are not used: 1" in line and "latitude 152" in line for line in told)


def fix(stamp: int, frame: str, latitude: float, none: bool) -> Any:
    """Return sensor_msgs/NavSatFix of 2 m in the plane, 3 m in height."""
    status = types.message("sensor_msgs/msg/NavSatStatus", status=-1 if none else 0, service=1)
    return types.message(
        "sensor_msgs/msg/NavSatFix",
        header=types.header(stamp, frame),
        status=status,
        latitude=latitude,
        longitude=13.0,
        altitude=40.0,
        position_covariance=np.diag([4.0, 4.0, 9.0]).ravel(),
        position_covariance_type=2,
    )


RIGHT_FROM_LEFT = Transform(Rotation.from_euler("y", 5, degrees=True), np.array([-0.4, 0, 0]))


def write_rig(path: Path, moves: float = 0.0, joined: bool = True) -> Path:
    """Write a bag of two cameras; the second one's images come 10 ms later, and one is missing."""
    with BagWriter(path) as writer:
        if joined:
            tf = types.tf(START, "left", "right", RIGHT_FROM_LEFT.inverse())
            writer.write("/tf_static", START, tf, latched=True)
        for index in range(6):
            for name, delay, value in (("left", 0, 10), ("right", 10_000_000, 20)):
                stamp = START + index * SECOND + delay
                if moves:
                    place = Transform(Rotation.identity(), np.array([moves * index, 0, 0]))
                    writer.write("/tf", stamp, types.tf(stamp, "left", "right", place))
                info = types.camera_info(stamp, name, CAMERA)
                writer.write(f"/{name}/camera_info", stamp, info)
                if index != 4 or name == "left":
                    gray = np.full((6, 8), value + index, np.uint8)
                    writer.write(f"/{name}/image_raw", stamp, types.image(stamp, name, gray))
    return path


def rig_options(tolerance: float = 0.02) -> ExtractOptions:
    sources = tuple(CameraSource(name, f"/{name}/image_raw") for name in ("left", "right"))
    return ExtractOptions(sources, ChoiceOptions(every=2.0), tolerance=tolerance)


def test_images_of_a_rig_are_of_one_instant(tmp_path: Path) -> None:
    told: list[str] = []
    with Bag(write_rig(tmp_path / "bag")) as bag:
        found = extract(bag, tmp_path / "out", rig_options(), tell=told.append)
    stamps = [START + index * SECOND for index in (0, 2, 4)]
    expected = [*(f"left/{stamp}.png" for stamp in stamps)]
    expected += [f"right/{stamp}.png" for stamp in stamps[:2]]
    assert list(found.names) == expected
    for name in expected:
        pixels = cv2.imread(str(tmp_path / "out/images" / name), cv2.IMREAD_GRAYSCALE)
        index = (int(Path(name).stem) - START) // SECOND
        assert pixels[0, 0] == index + (10 if name.startswith("left") else 20)
    assert any("10.0 ms apart" in line for line in told)
    rig = read_rig(tmp_path / "out/rig.json")
    assert list(rig) == ["left", "right"]
    metres, degrees = rig["right"].camera_from_rig.distance_to(RIGHT_FROM_LEFT)
    assert metres < 1e-9
    assert degrees < 1e-9
    assert not (tmp_path / "out/camera.txt").exists()


def test_images_too_far_apart_in_time_are_not_of_one_instant(tmp_path: Path) -> None:
    with Bag(write_rig(tmp_path / "bag")) as bag:
        found = extract(bag, tmp_path / "out", rig_options(tolerance=0.005))
    assert {name.split("/")[0] for name in found.names} == {"left"}


def test_cameras_that_are_no_rig_are_refused(tmp_path: Path) -> None:
    apart = write_rig(tmp_path / "a", joined=False)
    with Bag(apart) as bag, pytest.raises(InputError, match="no transform joins 'left' with"):
        extract(bag, tmp_path / "out", rig_options())
    moving = write_rig(tmp_path / "b", moves=0.1, joined=False)
    with Bag(moving) as bag, pytest.raises(InputError, match="they are no rig"):
        extract(bag, tmp_path / "out", rig_options())
    assert not (tmp_path / "out" / "images").exists()


def test_odometry_of_a_topic_takes_the_place_of_transforms(tmp_path: Path) -> None:
    mount = mounted()
    with BagWriter(tmp_path / "bag") as writer:
        for index in range(4):
            stamp = START + index * SECOND // 4
            odometry = types.odometry(stamp, "odom", "body", odom_from_base(index))
            writer.write("/odom", stamp, odometry)
            gray = np.full((6, 8), 10 * index, np.uint8)
            writer.write("/image_raw", stamp, types.image(stamp, "optical", gray))
    source = CameraSource(camera=CAMERA, mount=mount)
    told: list[str] = []
    with Bag(tmp_path / "bag") as bag:
        options = ExtractOptions((source,), ChoiceOptions(distance=0.5))
        found = extract(bag, tmp_path / "out", options, tell=told.append)
    assert indices(tmp_path / "out") == [0, 2]
    for index, pose in zip((0, 2), found.poses.values(), strict=True):
        assert pose.distance_to(odom_from_base(index) @ mount)[0] < 1e-9
    assert any(line.startswith("odometry: /odom") for line in told)
