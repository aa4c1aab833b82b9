"""`deviloc robotcar to-bag`: the folders are in the bag, whole, after interruptions too."""

from __future__ import annotations

import os
import tracemalloc
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import robotcar_folder as made
import yaml
from robotcar_folder import ORIGIN, SECOND, START

from deviloc_ros.bags.chunks import Event, plan_chunks, write_recording
from deviloc_ros.bags.reader import Bag
from deviloc_ros.bags.topics import image_topic, info_topic
from deviloc_ros.bags.transforms import BagTransforms
from deviloc_ros.bags.types import stamp_of
from deviloc_ros.cli.main import main
from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.images import to_gray
from deviloc_ros.messages.camera_info import camera_from_info
from deviloc_ros.messages.image import pixels_from_message
from deviloc_ros.messages.stamped import transform_of
from deviloc_ros.offline.query_cameras import read_cameras
from deviloc_ros.robotcar.bag import RawOptions, RawRecording
from deviloc_ros.robotcar.sensors import find_calibration
from deviloc_ros.robotcar.sequence import RawSequence

NAME = "2014-11-28-12-07-13"
ORIGIN_OPTION = ["--origin", *(str(value) for value in ORIGIN)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robotcar")
    made.write_sdk(folder)
    made.write_sequence(folder / NAME, count=4)
    return folder


@pytest.fixture(scope="module")
def sequence(root: Path) -> RawSequence:
    return RawSequence(root / NAME, find_calibration(root / NAME), ["left", "rear", "right"])


@pytest.fixture(scope="module")
def drive(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bag") / "drive"
    arguments = ["robotcar", "to-bag", str(root / NAME), "--output", str(path), "--chunk", "5"]
    assert main([*arguments, *ORIGIN_OPTION]) == 0
    return path


def everything(path: Path) -> list[tuple[str, int, bytes]]:
    with Bag(path) as bag:
        return [(item.topic, item.stamp, item.data) for item in bag.raw()]


def same(first: Transform, second: Transform, metres: float, degrees: float) -> bool:
    off = first.distance_to(second)
    return off[0] < metres and off[1] < degrees


def test_the_bag_holds_what_the_sequence_holds(drive: Path, sequence: RawSequence) -> None:
    with Bag(drive) as bag:
        counts = {name: (topic.type, topic.count) for name, topic in bag.topics.items()}
        for name, camera in sequence.cameras.items():
            assert counts[f"/{name}/image_rect"] == ("sensor_msgs/msg/Image", 4)
            assert counts[f"/{name}/camera_info"] == ("sensor_msgs/msg/CameraInfo", 4)
            images = list(bag.read([f"/{name}/image_rect"]))
            infos = list(bag.read([f"/{name}/camera_info"]))
            assert [stamp_of(message) for _, message in images] == camera.stamps.tolist()
            for (item, message), (_, info) in zip(images, infos, strict=True):
                assert item.stamp == stamp_of(message) == stamp_of(info)
                assert message.header.frame_id == info.header.frame_id == f"{name}_optical"
                pixels = pixels_from_message(message)
                expected = sequence.image(camera, item.stamp)
                np.testing.assert_array_equal(pixels, expected)
                for rectified in (False, True):
                    found = camera_from_info(info, (320, 320), rectified)
                    assert found.model == "PINHOLE"
                    assert found.params == pytest.approx(camera.camera.params)
        assert counts["/tf"][1] == counts["/odom"][1] > 15
        assert counts["/gps/fix"] == ("sensor_msgs/msg/NavSatFix", 5)
        assert counts["/ground_truth/pose"] == ("geometry_msgs/msg/PoseStamped", 12)


def test_transforms_odometry_and_truth_are_the_drive(drive: Path) -> None:
    with Bag(drive) as bag:
        transforms = BagTransforms(bag, tell=print)
        for name, model in made.SIDES.items():
            found = transforms.lookup("base_link", f"{name}_optical", START)
            assert same(found, made.base_from_optical(model), 2e-4, 0.01)
        origin = transforms.lookup("utm", "map", START).translation
        np.testing.assert_allclose(origin, ORIGIN)
        truth = {stamp_of(m): transform_of(m.pose) for _, m in bag.read(["/ground_truth/pose"])}
        images = {item.stamp for item, _ in bag.read([f"/{s}/image_rect" for s in made.SIDES])}
        assert set(truth) == images
        for stamp, map_from_base in truth.items():
            assert same(map_from_base, made.map_from_base(stamp), 0.003, 0.01)
        # odom starts where the odometry starts; what it tells is the way from there.
        for _, message in bag.read(["/odom"]):
            transforms.advance(stamp_of(message))
            odom_from_base = transform_of(message.pose.pose)
            expected = made.map_from_base(START).inverse() @ made.map_from_base(stamp_of(message))
            assert same(odom_from_base, expected, 0.005, 0.05)
            by_tf = transforms.lookup("odom", "base_link", stamp_of(message))
            assert same(by_tf, odom_from_base, 1e-9, 1e-6)
        _, fix = next(iter(bag.read(["/gps/fix"])))
        assert (fix.latitude, fix.position_covariance[0]) == (51.7612, pytest.approx(1.2**2))
        assert fix.position_covariance[4] == pytest.approx(1.5**2)


def test_the_bag_has_several_files_and_metadata_that_add_up(drive: Path) -> None:
    metadata = yaml.safe_load((drive / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["relative_file_paths"] == [f"drive_{index}.mcap" for index in range(3)]
    messages = everything(drive)
    assert metadata["message_count"] == len(messages)
    assert metadata["message_count"] == sum(file["message_count"] for file in metadata["files"])
    counts = Counter(topic for topic, _, _ in messages)
    for topic in metadata["topics_with_message_count"]:
        assert topic["message_count"] == counts[topic["topic_metadata"]["name"]]
    stamps = [stamp for _, stamp, _ in messages]
    assert stamps == sorted(stamps)
    assert stamps[0] == metadata["starting_time"]["nanoseconds_since_epoch"]
    assert stamps[-1] - stamps[0] == metadata["duration"]["nanoseconds"]
    assert sorted(os.listdir(drive.parent)) == ["drive"]
    # Each file alone says where the cameras sit.
    for name in metadata["relative_file_paths"]:
        with Bag(drive / name) as bag:
            assert bag.topics["/tf_static"].count == 1


def test_raw_images_come_with_a_lens_that_fits_them(
    root: Path, sequence: RawSequence, tmp_path: Path
) -> None:
    path = tmp_path / "raw"
    arguments = ["robotcar", "to-bag", str(root / NAME), "--output", str(path), "--images", "raw"]
    assert main([*arguments, "--cameras", "rear", "--end", "0.1"]) == 0
    with Bag(path) as bag:
        [(item, message)] = bag.read(["/rear/image_raw"])
        [(_, info)] = bag.read(["/rear/camera_info"])
    assert message.encoding == "bayer_rggb8"
    camera = sequence.cameras["rear"]
    mosaic = message.data.reshape(320, 320)
    np.testing.assert_array_equal(mosaic, sequence.mosaic(camera, item.stamp))
    assert info.distortion_model == "equidistant"
    fisheye = camera_from_info(info, (320, 320))
    lens = made.LENSES["mono_rear"]
    rays = lens.rays()[10::50, 10::50].reshape(-1, 3)
    pixels = lens.table().reshape(2, 320, 320)[:, 10::50, 10::50].reshape(2, -1).T
    assert np.abs(fisheye.project(rays) - (pixels + 0.5)).max() < 0.05


def test_gray_and_a_part_of_the_time(root: Path, tmp_path: Path, capsys) -> None:
    path = tmp_path / "part"
    arguments = ["robotcar", "to-bag", str(root / NAME), "--output", str(path), "--images", "gray"]
    assert main([*arguments, "--start", "0.2", "--end", "0.6", "--cameras", "left,rear"]) == 0
    assert "4 images" in capsys.readouterr().out
    with Bag(path) as bag:
        images = list(bag.read(["/left/image_rect", "/rear/image_rect"]))
        assert {message.encoding for _, message in images} == {"mono8"}
        first = START + 7_000_000
        assert all(0.2 <= (item.stamp - first) / SECOND < 0.6 for item, _ in images)
        # The map's origin is near the first true pose where it is not given.
        _, pose = next(iter(bag.read(["/ground_truth/pose"])))
        assert np.linalg.norm(transform_of(pose.pose).translation) < 5


def test_seasons_become_a_bag(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "RobotCar-Seasons"
    night = [START, START + SECOND]
    made.write_seasons(folder, [[START]], {"night": night})
    arguments = ["robotcar", "to-bag", str(folder), "--condition", "night", "--output"]
    assert main([*arguments, str(tmp_path / "night"), "--up", "minus-z"]) == 0
    assert "1 moments have a public true pose" in capsys.readouterr().out
    with Bag(tmp_path / "night") as bag:
        assert bag.topics["/rear/image_rect"].count == 2
        assert "/odom" not in bag.topics
        [(_, truth)] = bag.read(["/ground_truth/pose"])
        assert same(transform_of(truth.pose), made.map_from_base(START), 1e-5, 1e-4)
        transforms = BagTransforms(bag, tell=print)
        for name, model in made.SIDES.items():
            mounted = transforms.lookup("base_link", f"{name}_optical", START)
            assert same(mounted, made.base_from_optical(model), 1e-5, 1e-4)
        item, message = next(iter(bag.read(["/left/image_rect"])))
    stored = cv2.imread(str(folder / f"images/night/left/{item.stamp // 1000}.jpg"))
    np.testing.assert_array_equal(pixels_from_message(message), stored[..., ::-1])


def test_images_can_be_compressed(root: Path, sequence: RawSequence, tmp_path: Path) -> None:
    for images, shape in (("rgb", (320, 320, 3)), ("gray", (320, 320))):
        path = tmp_path / images
        arguments = ["robotcar", "to-bag", str(root / NAME), "--output", str(path),
                     "--images", images, "--jpeg", "95", "--cameras", "left"]  # fmt: skip
        assert main(arguments) == 0
        with Bag(path) as bag:
            assert info_topic(bag, image_topic(bag)).name == "/left/camera_info"
            item, message = next(iter(bag.read(["/left/image_rect/compressed"])))
        pixels = pixels_from_message(message)
        assert pixels.shape == shape
        exact = sequence.image(sequence.cameras["left"], item.stamp)
        off = np.abs(to_gray(pixels).astype(float) - to_gray(exact))
        assert off.mean() < 3
        assert message.data.size < 0.5 * pixels.size


def test_jpeg_files_of_seasons_go_in_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    made.write_seasons(folder, [[START]], {"night": [START]})
    arguments = ["robotcar", "to-bag", str(folder), "--condition", "night", "--images", "raw"]
    assert main([*arguments, "--output", str(tmp_path / "bag")]) == 0
    with Bag(tmp_path / "bag") as bag:
        item, message = next(iter(bag.read(["/rear/image_rect/compressed"])))
    path = folder / f"images/night/rear/{item.stamp // 1000}.jpg"
    assert message.data.tobytes() == path.read_bytes()
    np.testing.assert_array_equal(pixels_from_message(message), cv2.imread(str(path))[..., ::-1])


def test_queries_are_listed_for_localize_and_evaluate(tmp_path: Path, capsys) -> None:
    folder, output = tmp_path / "s", tmp_path / "out"
    night = [START + index * SECOND for index in range(3)]
    made.write_seasons(folder, [[START]], {"night": night, "sun": [START]})
    call = ["robotcar", "queries", str(folder), "--output", str(output)]
    assert main([*call, "--up", "minus-z"]) == 0
    assert "4 images, 3 with a true pose" in capsys.readouterr().out
    cameras = read_cameras(output / "cameras.txt").by_name
    names = [f"night/rear/{stamp // 1000}.jpg" for stamp in night]
    assert list(cameras) == [*names, f"sun/rear/{START // 1000}.jpg"]
    assert cameras[names[0]].params == pytest.approx(made.LENSES["mono_rear"].camera.params)
    for image in posed_images(output / "truth"):
        stamp = int(Path(image.name).stem) * 1000
        expected = made.map_from_base(stamp) @ made.base_from_optical("mono_rear")
        assert same(image.camera_from_map.inverse(), expected, 1e-5, 1e-4)
    for options, count in [
        (["--only", "train"], 3),
        (["--only", "test"], 1),
        (["--conditions", "night"], 3),
        (["--conditions", "night", "--cameras", "left,rear"], 6),
        (["--places", "1"], 4),
    ]:
        assert main([*call, *options]) == 0
        assert len(read_cameras(output / "cameras.txt").by_name) == count
    for options, told in [
        (["--conditions", "fog"], "conditions there are: night"),
        (["--cameras", "front"], "--cameras front"),
        (["--places", "7"], "queries_location_007.txt: no such file"),
        (["--conditions", "sun", "--only", "test"], "no query image is left of sun"),
    ]:
        assert main([*call, *options]) == 2
        assert told in capsys.readouterr().err


def test_a_conversion_goes_on_after_a_fault(
    root: Path, drive: Path, tmp_path: Path, capsys
) -> None:
    source = tmp_path / NAME
    stamps = made.write_sequence(source, count=4)
    last = source / "mono_rear" / f"{stamps['rear'][-1] // 1000}.png"
    whole = last.read_bytes()
    last.write_bytes(whole[:100])
    path = tmp_path / "drive"
    arguments = ["robotcar", "to-bag", str(source), "--output", str(path), "--chunk", "5",
                 "--models", str(root / "models"), "--extrinsics", str(root / "extrinsics"),
                 *ORIGIN_OPTION]  # fmt: skip
    assert main(arguments) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(last) in told
    assert not path.exists()
    done = sorted((tmp_path / "drive.part").glob("chunk_*"))
    assert [chunk.name for chunk in done] == ["chunk_00000", "chunk_00001"]
    times = [chunk.stat().st_mtime_ns for chunk in done]
    last.write_bytes(whole)
    again = [(tmp_path / "drive.part" / chunk.name).stat().st_mtime_ns for chunk in done]
    assert again == times
    assert main(arguments) == 0
    assert "12 images, 10 of them kept from before" in capsys.readouterr().out
    assert everything(path) == everything(drive)
    assert not (tmp_path / "drive.part").exists()


class Interrupt:
    """Counts images, and presses Ctrl-C at one of them."""

    def __init__(self, at: int) -> None:
        self.count = 0
        self.at = at

    def __call__(self, images: int) -> None:
        self.count += images
        if self.count >= self.at:
            raise KeyboardInterrupt


def recording(sequence: RawSequence, images: str = "gray") -> RawRecording:
    options = RawOptions(images, 0, 2 * START, (0.0, 0.0, 0.0))
    return RawRecording(sequence, options, None, None, ())


def test_a_conversion_goes_on_after_ctrl_c_at_any_image(
    sequence: RawSequence, tmp_path: Path
) -> None:
    write_recording(tmp_path / "straight", recording(sequence), 3)
    for at in (1, 3, 4, 7, 12):
        path = tmp_path / f"interrupted_{at}"
        with pytest.raises(KeyboardInterrupt):
            write_recording(path, recording(sequence), 3, Interrupt(at))
        assert not path.exists()
        kept = write_recording(path, recording(sequence), 3)
        # A chunk counts once its last image is written and the chunk is closed.
        assert kept == 3 * ((at - 1) // 3)
        assert everything(path) == everything(tmp_path / "straight")
        assert not path.with_name(f"{path.name}.part").exists()


def test_what_a_killed_process_left_is_removed(sequence: RawSequence, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with pytest.raises(KeyboardInterrupt):
        write_recording(path, recording(sequence), 3, Interrupt(8))
    work = tmp_path / "bag.part"
    # SIGKILL leaves the chunk that was being written under its temporary name, or a half-made bag.
    (work / ".chunk_00002.abc" / "chunk_00002").mkdir(parents=True)
    (work / "joined").mkdir()
    (work / "joined" / "bag_0.mcap").write_bytes(b"half")
    assert write_recording(path, recording(sequence), 3) == 6
    write_recording(tmp_path / "straight", recording(sequence), 3)
    assert everything(path) == everything(tmp_path / "straight")
    assert sorted(os.listdir(tmp_path)) == ["bag", "straight"]


def test_other_options_start_over(sequence: RawSequence, tmp_path: Path) -> None:
    path = tmp_path / "bag"
    with pytest.raises(KeyboardInterrupt):
        write_recording(path, recording(sequence), 3, Interrupt(8))
    assert write_recording(path, recording(sequence, "rgb"), 3) == 0
    with Bag(path) as bag:
        _, message = next(iter(bag.read(["/left/image_rect"])))
        assert message.encoding == "rgb8"


def test_an_older_bag_stays_until_the_new_one_is_whole(
    sequence: RawSequence, tmp_path: Path
) -> None:
    path = tmp_path / "bag"
    write_recording(path, recording(sequence), 3)
    before = everything(path)
    with pytest.raises(KeyboardInterrupt):
        write_recording(path, recording(sequence, "rgb"), 3, Interrupt(8))
    assert everything(path) == before
    write_recording(path, recording(sequence, "rgb"), 3)
    assert everything(path) != before


def test_images_of_one_moment_stay_in_one_chunk() -> None:
    spans = plan_chunks([1, 1, 2, 2, 2, 3, 9], 3)
    assert [(span.begin, span.end, span.num_images) for span in spans] == [(1, 3, 5), (3, 10, 2)]
    assert [span.num_images for span in plan_chunks([5, 6, 7], 10)] == [3]


class LongRecording:
    """A recording of large images that are made when they are asked for."""

    def __init__(self, count: int) -> None:
        self.image_stamps = [START + index * SECOND for index in range(count)]
        self.fingerprint = f"long {count}"

    def events(self, begin: int, end: int):
        from deviloc_ros.bags import types

        for stamp in self.image_stamps:
            if begin <= stamp < end:
                noise = np.random.default_rng(stamp).integers(0, 256, (1000, 1000, 3), np.uint8)
                yield Event(stamp, "/image", lambda s=stamp, n=noise: types.image(s, "camera", n))


def test_memory_does_not_grow_with_the_recording(tmp_path: Path) -> None:
    peaks = []
    for count in (4, 24):
        tracemalloc.start()
        write_recording(tmp_path / f"bag{count}", LongRecording(count), 8)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    image = 3_000_000
    assert peaks[1] < peaks[0] + image
    assert peaks[1] < 8 * image  # a chunk of 8 is never in memory as a whole


BAD = [
    (["--cameras", "left,front"], "--cameras left,front"),
    (["--cameras", "left,left"], "--cameras left,left"),
    (["--chunk", "0"], "--chunk 0"),
    (["--start", "5", "--end", "2"], "--start 5 --end 2"),
    (["--start", "500"], "no image between --start and --end"),
    (["--condition", "night"], "--condition and --up are for RobotCar Seasons"),
    (["--models", "nowhere"], "nowhere/mono_left.txt: no such file"),
    (["--cameras", "stereo_left"], "stereo.timestamps: no such file"),
    (["--truth", "nowhere.csv"], "nowhere.csv: cannot be read"),
]


@pytest.mark.parametrize(("options", "told"), BAD)
def test_bad_input_is_one_line_and_code_2(
    root: Path, tmp_path: Path, capsys, options: list[str], told: str
) -> None:
    path = tmp_path / "bag"
    assert main(["robotcar", "to-bag", str(root / NAME), "--output", str(path), *options]) == 2
    error = capsys.readouterr().err.strip()
    assert told in error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def test_what_is_no_bag_is_not_overwritten(sequence: RawSequence, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(InputError, match="exists and is not a rosbag2"):
        write_recording(tmp_path / "photos", recording(sequence), 3)
    with pytest.raises(InputError, match="there is no folder"):
        write_recording(tmp_path / "a" / "b", recording(sequence), 3)


def test_seasons_refuse_what_only_raw_sequences_have(tmp_path: Path, capsys) -> None:
    folder = tmp_path / "s"
    made.write_seasons(folder, [[START]], {"night": [START]})
    call = ["robotcar", "to-bag", str(folder), "--output", str(tmp_path / "bag")]
    for options, told in [
        ([], "--condition: name one of night, overcast-reference"),
        (["--condition", "fog"], "conditions there are: night"),
        (["--condition", "night", "--jpeg", "0"], "--jpeg 0: is 1 to 100"),
        (["--condition", "night", "--jpeg", "9", "--images", "raw"], "not for --images raw"),
        (["--condition", "night", "--models", "x"], "--models is for raw sequences"),
        (["--condition", "night", "--cameras", "stereo_left"], "RobotCar Seasons has left"),
    ]:
        assert main([*call, *options]) == 2
        assert told in capsys.readouterr().err
