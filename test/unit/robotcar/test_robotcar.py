"""RobotCar: folders with its layout and formats are read as its documentation says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import robotcar_folder as made
from robotcar_folder import FLIP, G_CAMERA_IMAGE, SECOND, START

from deviloc_ros.datasets.colmap import posed_images
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.messages.image import ENCODINGS
from deviloc_ros.robotcar.calibration import (
    from_xyz_rpy,
    read_camera_model,
    read_extrinsics,
    read_table_of,
    to_xyz_rpy,
)
from deviloc_ros.robotcar.fisheye import fit_fisheye
from deviloc_ros.robotcar.poses import read_absolute, read_fixes, read_odometry
from deviloc_ros.robotcar.seasons_files import Seasons
from deviloc_ros.robotcar.sensors import CalibrationFolders, find_calibration
from deviloc_ros.robotcar.sequence import RawSequence

NAME = "2014-11-28-12-07-13"
ALL = ("left", "rear", "right", "stereo_left", "stereo_centre", "stereo_right")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robotcar")
    made.write_sdk(folder)
    made.write_sequence(folder / NAME, count=2, cameras=ALL)
    return folder


@pytest.fixture(scope="module")
def sequence(root: Path) -> RawSequence:
    return RawSequence(root / NAME, find_calibration(root / NAME), ALL)


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Seasons:
    folder = tmp_path_factory.mktemp("seasons") / "RobotCar-Seasons"
    night = [START + SECOND // 4, START + SECOND // 2, START + SECOND]
    made.write_seasons(folder, [[START, START + SECOND], [START + 2 * SECOND]], {"night": night})
    return Seasons(folder)


def same(first: Transform, second: Transform, metres: float = 1e-6, degrees: float = 1e-4) -> bool:
    off = first.distance_to(second)
    return off[0] < metres and off[1] < degrees


def test_six_numbers_are_roll_then_pitch_then_yaw_about_fixed_axes() -> None:
    values = (1.0, 2.0, 3.0, 0.3, -0.4, 2.5)
    np.testing.assert_allclose(from_xyz_rpy(values).matrix, made.matrix(values), atol=1e-12)
    np.testing.assert_allclose(to_xyz_rpy(from_xyz_rpy(values)), values, atol=1e-12)


@pytest.mark.parametrize(
    ("camera", "looks", "side"),
    [("left", 1, 1), ("right", -1, -1), ("rear", 0, 0), ("stereo_left", 0, 0)],
)
def test_cameras_look_where_the_car_has_them(
    sequence: RawSequence, camera: str, looks: int, side: int
) -> None:
    mounted = sequence.cameras[camera].base_from_optical
    forward, left, up = mounted.rotation.as_matrix()[:, 2]
    if looks:
        assert looks * left > 0.85  # to its side
        assert side * mounted.translation[1] > 0.3  # and sits on that side
        assert mounted.translation[0] < -1.0  # behind the stereo camera
    else:
        assert (forward > 0.99) == camera.startswith("stereo")
        assert (forward < -0.95) == (camera == "rear")
    assert mounted.rotation.apply((0, -1, 0))[2] > 0.9  # the image's top is up
    assert up < 0.01  # it looks level or down, onto the road


def test_published_extrinsics_of_both_data_sets_agree() -> None:
    """The rear camera in the SDK (camera_from_vehicle) and in RobotCar Seasons (car_from_camera).

    It holds only if the SDK's are camera_from_vehicle, its G_camera_image is camera_from_optical,
    and the car frame of RobotCar Seasons has the axes of an image.
    """
    published = np.array(
        [[-0.999802, -0.011530, -0.016233, 0.060209], [-0.015184, 0.968893, 0.247013, 0.153691],
         [0.012880, 0.247210, -0.968876, -2.086142], [0, 0, 0, 1]]
    )  # fmt: skip
    car_from_vehicle = G_CAMERA_IMAGE.T
    vehicle_from_camera = np.linalg.inv(made.matrix(made.EXTRINSICS["mono_rear"]))
    ours = car_from_vehicle @ vehicle_from_camera @ G_CAMERA_IMAGE
    np.testing.assert_allclose(ours, published, atol=2e-4)


def test_images_are_undistorted_to_a_pinhole_within_what_a_mosaic_allows(
    sequence: RawSequence,
) -> None:
    for name, camera in sequence.cameras.items():
        extrinsics = "stereo" if name.startswith("stereo") else f"mono_{name}"
        lens = made.LENSES[camera.sensor.model]
        assert camera.camera == lens.camera
        assert same(camera.base_from_optical, made.base_from_optical(extrinsics), 2e-4, 0.01)
        stamp = int(camera.stamps[0])
        pixels = sequence.image(camera, stamp).astype(float)
        pose = made.map_from_base(stamp) @ made.base_from_optical(extrinsics)
        # Seen by the camera that is promised: rays of its pixels in COLMAP's convention.
        v, u = np.mgrid[: camera.camera.height, : camera.camera.width] + 0.5
        rays = camera.camera.rays(np.stack([u, v], -1)).reshape(*u.shape, 3)
        expected = made.directions(pose, rays).astype(float)
        inside = (pixels > 0).all(axis=2)
        assert inside.mean() > 0.9
        off = np.abs(pixels - expected)[inside]
        assert off.mean() < 1.5
        assert np.quantile(off, 0.99) < 8
        # The tolerance is tight: half a pixel's shift would be seen.
        shifted = np.abs(np.roll(pixels, 1, axis=1) - expected)[inside]
        assert off.mean() < shifted.mean() / 1.5


def test_the_wrong_mosaic_would_be_noticed(sequence: RawSequence) -> None:
    camera = sequence.cameras["left"]
    mosaic = sequence.mosaic(camera, int(camera.stamps[0]))
    right = ENCODINGS["bayer_rggb8"].convert(mosaic).astype(float)
    wrong = ENCODINGS["bayer_gbrg8"].convert(mosaic).astype(float)
    assert np.abs(right - wrong).mean() > 20


def test_the_lens_of_distorted_images_is_found(sequence: RawSequence) -> None:
    camera = sequence.cameras["rear"]
    lens = made.LENSES["mono_rear"]
    found = fit_fisheye(camera.model, camera.table, "rear")
    rays = lens.rays()[::20, ::20].reshape(-1, 3)
    pixels = lens.table().reshape(2, 320, 320)[:, ::20, ::20].reshape(2, -1).T + 0.5
    assert np.abs(found.project(rays) - pixels).max() < 0.05


def test_absolute_poses_are_the_drive(root: Path, sequence: RawSequence) -> None:
    for name in ("gps/ins.csv", "rtk.csv"):
        trajectory = read_absolute(root / NAME / name, sequence.vehicle_from_ins())
        for stamp in (START, START + 123_456_789, START + SECOND // 2):
            expected = Transform.from_matrix(made.utm_from_base(stamp))
            found = trajectory.at(stamp)
            assert found is not None
            assert same(found, expected, 0.003, 0.01)
        assert trajectory.at(START - SECOND) is None  # while it aligned itself
        assert trajectory.at(START + 60 * SECOND) is None


def test_a_gap_in_absolute_poses_is_not_bridged(root: Path, tmp_path: Path) -> None:
    lines = (root / NAME / "rtk.csv").read_text().splitlines()
    (tmp_path / "rtk.csv").write_text("\n".join([*lines[:2], *lines[-2:]]) + "\n")
    trajectory = read_absolute(tmp_path / "rtk.csv", Transform.identity())
    begin, end = int(trajectory.stamps[0]), int(trajectory.stamps[2])
    assert end - begin > SECOND // 2
    assert trajectory.at(begin) is not None
    assert trajectory.at((begin + end) // 2) is None


def test_lines_that_come_twice_count_once(root: Path, tmp_path: Path) -> None:
    made.write_sequence(tmp_path / NAME, count=2, cameras=("left",))
    for name in ("rtk.csv", "mono_left.timestamps"):
        path = tmp_path / NAME / name
        path.write_text(path.read_text() + path.read_text().splitlines()[-1] + "\n")
    once, twice = (
        read_absolute(folder / NAME / "rtk.csv", Transform.identity())
        for folder in (root, tmp_path)
    )
    np.testing.assert_array_equal(once.stamps, twice.stamps)
    camera = RawSequence(tmp_path / NAME, find_calibration(root / NAME), ["left"]).cameras["left"]
    assert (len(camera.stamps), camera.num_missing) == (2, 0)


def test_odometry_adds_up_to_the_drive(root: Path) -> None:
    odometry = read_odometry(root / NAME / "vo" / "vo.csv")
    assert odometry.gaps == 0
    begin = made.map_from_base(START)
    for stamp in (START, START + SECOND // 4, START + SECOND // 2):
        found = odometry.trajectory.at(stamp)
        assert found is not None
        assert same(begin @ found, made.map_from_base(stamp), 0.002, 0.02)


def test_odometry_with_rows_the_other_way_round_and_a_gap(root: Path, tmp_path: Path) -> None:
    header, *rows = (root / NAME / "vo" / "vo.csv").read_text().splitlines()
    later, earlier, *values = rows[2].split(",")
    step = np.linalg.inv(made.matrix([float(value) for value in values]))
    turned = ",".join([earlier, later, *(repr(float(v)) for v in made.six(step))])
    path = tmp_path / "vo.csv"
    path.write_text("\n".join([header, rows[0], turned, rows[3]]) + "\n")
    odometry = read_odometry(path)
    assert odometry.gaps == 1  # rows[1] is missing
    whole = read_odometry(root / NAME / "vo" / "vo.csv").trajectory
    stamp = int(later) * 1000
    missing = made.matrix([float(value) for value in rows[1].split(",")[2:]])
    bridged = odometry.trajectory.at(stamp)
    found = whole.at(stamp)
    assert bridged is not None
    assert found is not None
    lost = Transform.from_matrix(FLIP @ missing @ FLIP)
    first = whole.at(int(rows[0].split(",")[0]) * 1000)
    assert first is not None
    assert same(first @ lost @ (first.inverse() @ bridged), found, 1e-5, 1e-3)


def test_fixes(root: Path) -> None:
    fix = read_fixes(root / NAME / "gps" / "gps.csv")[0]
    assert (fix.stamp, fix.latitude, fix.longitude, fix.altitude) == (
        START,
        51.7612,
        -1.2604,
        110.1,
    )
    assert fix.sigma == (1.5, 1.2, 2.5)


def test_missing_chunks_are_counted(root: Path, tmp_path: Path) -> None:
    made.write_sequence(tmp_path / NAME, count=3, cameras=("left",))
    first = min((tmp_path / NAME / "mono_left").iterdir())
    first.unlink()
    camera = RawSequence(tmp_path / NAME, find_calibration(root / NAME), ["left"]).cameras["left"]
    assert (len(camera.stamps), camera.num_missing) == (2, 1)


def test_calibration_lies_in_the_sequence_or_beside_it_or_where_told(
    root: Path, tmp_path: Path
) -> None:
    beside = find_calibration(root / NAME)
    assert beside == CalibrationFolders(root / "models", root / "extrinsics")
    (tmp_path / "alone").mkdir()
    with pytest.raises(InputError, match=r"no camera models .*--models"):
        find_calibration(tmp_path / "alone")
    told = find_calibration(tmp_path / "alone", Path("m"), Path("e"))
    assert told == CalibrationFolders(Path("m"), Path("e"))
    (tmp_path / "alone" / "camera-models").mkdir()
    found = find_calibration(tmp_path / "alone", None, Path("e"))
    assert found.models == tmp_path / "alone" / "camera-models"


def test_seasons_are_read(seasons: Seasons) -> None:
    assert seasons.conditions == ["night", "overcast-reference"]
    images = seasons.images("night")
    assert [image.stamp for image in images] == sorted(image.stamp for image in images)
    assert len(images) == 9
    assert {image.camera for image in images} == {"left", "rear", "right"}
    for side, model in made.SIDES.items():
        camera = made.LENSES[model].camera
        assert seasons.camera(side).params == pytest.approx(camera.params, abs=1e-5)
        assert (seasons.camera(side).width, seasons.camera(side).height) == (320, 320)
        assert same(seasons.base_from_optical(side), made.base_from_optical(model))
    assert [submap.name for submap in seasons.submaps] == ["001", "002"]
    assert seasons.queries(1) == [image.name for image in seasons.images("night", ["rear"])]
    for stamp, world_from_base in seasons.true_poses("night").items():
        assert same(made.WORLD_FROM_MAP.inverse() @ world_from_base, made.map_from_base(stamp))
    assert len(seasons.true_poses("night")) == 2
    assert seasons.test_images() == [images[4].name.replace(images[4].camera, "rear")]


def test_the_models_world_of_seasons_has_z_down(seasons: Seasons) -> None:
    for image in posed_images(seasons.submaps[0].folder):
        world_from_image_up = image.camera_from_map.rotation.inv().apply((0, -1, 0))
        assert world_from_image_up[2] < -0.9


SEQUENCE_FAULTS = [
    ("mono_left.timestamps", lambda text: text + "soon 1\n", "left.timestamps:3: 'soon' is not a"),
    ("mono_left.timestamps", lambda text: "\n".join(text.split("\n")[1::-1]),
     "timestamps:2: time stamp .* is before"),
    ("mono_left.timestamps", lambda text: "", "holds no time stamp"),
    ("vo/vo.csv", lambda text: text.replace("yaw", "jaw"), r"vo.csv:1: the header lacks yaw"),
    ("vo/vo.csv", lambda text: text + "1417176458,3\n", r"2 fields, the header names 8"),
    ("gps/ins.csv", lambda text: text.replace("GOOD,51.76", "GOOD,51.76,1", 1), "16 fields"),
    ("gps/ins.csv", lambda text: text.replace("GOOD", "BAD"), "holds no pose"),
    ("rtk.csv", lambda text: text + text.split("\n")[1] + "\n", "is before the last one"),
    ("gps/gps.csv", lambda text: text.replace("51.7612", "151.7612", 1), "latitude 151.761"),
    ("gps/gps.csv", lambda text: text.replace("51.7612", "north", 1), "'north' is not a finite"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "told"), SEQUENCE_FAULTS)
def test_a_wrong_file_of_a_sequence_is_named(
    root: Path, tmp_path: Path, name: str, change, told: str
) -> None:
    made.write_sequence(tmp_path / NAME, count=2, cameras=("left",))
    path = tmp_path / NAME / name
    path.write_text(change(path.read_text()))

    def read() -> None:
        RawSequence(tmp_path / NAME, find_calibration(root / NAME), ["left"])
        for absolute in ("gps/ins.csv", "rtk.csv"):
            read_absolute(tmp_path / NAME / absolute, Transform.identity())
        read_odometry(tmp_path / NAME / "vo" / "vo.csv")
        read_fixes(tmp_path / NAME / "gps" / "gps.csv")

    with pytest.raises(InputError, match=told) as error:
        read()
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_calibration_is_named(root: Path, tmp_path: Path) -> None:
    def refused(text: str, told: str, read) -> None:
        path = tmp_path / "file.txt"
        path.write_text(text)
        with pytest.raises(InputError, match=told) as error:
            read(path)
        assert re.match(rf"{re.escape(str(path))}", str(error.value))

    model = (root / "models" / "mono_left.txt").read_text()
    refused(model.replace("125.0", "-125.0", 1), "focal", read_camera_model)
    refused(model.rsplit("\n", 2)[0], "4 rows of G_camera_image", read_camera_model)
    refused(model.replace("1.000000", "2.000000"), "not a rotation", read_camera_model)
    refused("1 2 3 4 5\n", "x y z roll pitch yaw", read_extrinsics)
    refused("1 2 3 4 5 east\n", "'east' is not a finite number", read_extrinsics)
    table = root / "models" / "mono_left_distortion_lut.bin"
    with pytest.raises(InputError, match=r"lut.bin: is 1638400 bytes long; .* must be 1633280"):
        read_table_of(table, 319, 320)
    broken = tmp_path / "lut.bin"
    np.full(2 * 320 * 320, np.nan).tofile(broken)
    with pytest.raises(InputError, match="no pixels"):
        read_table_of(broken, 320, 320)


def test_a_wrong_image_is_named(root: Path, tmp_path: Path) -> None:
    stamps = made.write_sequence(tmp_path / NAME, count=2, cameras=("left",))["left"]
    sequence = RawSequence(tmp_path / NAME, find_calibration(root / NAME), ["left"])
    camera = sequence.cameras["left"]
    path = sequence.path(camera, stamps[1])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=rf"{stamps[1] // 1000}.png: is not a PNG of 8-bit raw"):
        sequence.image(camera, stamps[1])


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("intrinsics/left_intrinsics.txt", lambda text: text.replace("cy", "cz"), "lacks cy"),
        ("intrinsics/left_intrinsics.txt", lambda text: text.replace("fx ", "fx"), "fx 400.0"),
        ("extrinsics/rear_extrinsics.txt", lambda text: text.replace(",", " "), "comma-separated"),
        ("robotcar_v2_train.txt", lambda text: text.replace(" 0.000000000 1.0", " 1.0"), "train"),
        ("robotcar_v2_train.txt", lambda text: text.replace("1.000000000", "2"), "not a rotation"),
    ],
)
def test_a_wrong_file_of_seasons_is_named(tmp_path: Path, name: str, change, told: str) -> None:
    made.write_seasons(tmp_path / "s", [[START]], {"night": [START]}, cameras=("left", "rear"))
    path = tmp_path / "s" / name
    path.write_text(change(path.read_text()))
    seasons = Seasons(tmp_path / "s")

    def read() -> None:
        for side in ("left", "rear"):
            seasons.camera(side)
            seasons.base_from_optical(side)
        seasons.training_poses()

    with pytest.raises(InputError, match=told) as error:
        read()
    assert str(path) in str(error.value)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder images"):
        Seasons(tmp_path)
    made.write_seasons(tmp_path / "s", [[START]], {}, cameras=("left",))
    with pytest.raises(InputError, match="conditions there are: overcast-reference"):
        Seasons(tmp_path / "s").images("fog")
