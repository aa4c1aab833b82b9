"""`deviloc map build --bag`: from a drive to a metric map with z up, in one command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from wall_map import BASE_FROM_CAMERA, CAMERA, SETTINGS, map_from_base, view

from deviloc_ros.bags import types
from deviloc_ros.bags.writer import BagWriter
from deviloc_ros.cli.main import main
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.map import Map

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
QUICK = {"features.backend": "torch", "matching.context": "never"}
DRIFT = 1.01
PLACE = np.array([52.0, 13.0, 40.0])
ODOM_FROM_MAP = Transform(Rotation.from_euler("z", 30, degrees=True), np.array([4.0, -2.0, 0.5]))


def write_drive(path: Path, odometry: bool, start: float = -2.0) -> Path:
    """Write a bag of a robot that moves sideways along the wall, turning to and fro.

    It stands still for half of the time, with images as often as on its way. Its odometry says
    that it went 1 % further than it did. A satellite receiver on it knows its place to 1 cm.
    """
    earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
    with BagWriter(path) as writer:
        mount = types.tf(START, "base_link", "camera", BASE_FROM_CAMERA)
        writer.write("/tf_static", START, mount, latched=True)
        places = [*np.linspace(start, 2, 13), *[2.0] * 13]
        for index, x in enumerate(places):
            stamp = START + index * SECOND // 4
            base = map_from_base(float(x), yaw=8 * (-1) ** index if x < 2 else 8)
            if odometry:
                drifted = Transform(base.rotation, base.translation * (DRIFT, 1, 1))
                pose = types.tf(stamp, "odom", "base_link", ODOM_FROM_MAP @ drifted)
                writer.write("/tf", stamp, pose)
            place = earth.enu_to_ellipsoid(base.translation[None], *PLACE)[0]
            writer.write("/fix", stamp, fix(stamp, place))
            writer.write("/front/camera_info", stamp, types.camera_info(stamp, "camera", CAMERA))
            image = view(base @ BASE_FROM_CAMERA)
            writer.write("/front/image_raw", stamp, types.image(stamp, "camera", image))
    return path


def fix(stamp: int, place: NDArray[np.float64]) -> Any:
    """Return sensor_msgs/NavSatFix of an antenna at the base."""
    return types.message(
        "sensor_msgs/msg/NavSatFix",
        header=types.header(stamp, "base_link"),
        status=types.message("sensor_msgs/msg/NavSatStatus", status=2, service=1),
        latitude=place[0],
        longitude=place[1],
        altitude=place[2],
        position_covariance=(1e-4 * np.eye(3)).ravel(),
        position_covariance_type=2,
    )


def test_a_drive_becomes_a_metric_map_with_z_up_and_another_one_extends_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bag = write_drive(tmp_path / "drive", odometry=True)
    output = tmp_path / "wall.devmap"
    settings = [f"--set={key}={value}" for key, value in {**SETTINGS, **QUICK}.items()]
    code = main(
        ["map", "build", "--bag", str(bag), "--output", str(output), "--distance", "0.6",
         "--turn", "40", "--overlap", "0.05", *settings]
    )  # fmt: skip
    out, err = capfd.readouterr()
    assert code == 0, err
    assert "metric, z up" in out
    assert "it drifted against the map by" in out
    assert "x east, y north; origin latitude 52.0" in out
    built = Map.load(output)
    assert built.metric
    assert built.gravity_aligned
    # By the way that was gone, not by time: no image more while the robot stood.
    assert len(built.references) == 7
    # Everything is where the receiver says, and the odometry is known to be too long.
    [scale] = re.findall(r"a metre of it is (\S+) m", out)
    assert float(scale) == pytest.approx(1 / DRIFT, abs=0.003)
    earth = pycolmap.GPSTransform(pycolmap.GPSTransformEllipsoid.WGS84)
    [shift] = earth.ellipsoid_to_enu(np.array([built.meta["origin"]]), *PLACE)
    for reference in built.references:
        index = (int(Path(reference.name).stem) - START) * 4 // SECOND
        base = map_from_base(float(np.linspace(-2, 2, 13)[index]), yaw=8 * (-1) ** index)
        true = Transform(base.rotation, base.translation - shift) @ BASE_FROM_CAMERA
        metres, degrees = reference.camera_from_map.inverse().distance_to(true)
        assert metres < 0.03
        assert degrees < 0.5
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["drive", "wall.devmap", "wall.html", "wall.view.html"]
    page = (tmp_path / "wall.html").read_text("utf-8")
    assert 'href="wall.view.html"' in page
    assert "7 of 26 images of the bag were taken" in page
    # The robot stood for half of the time.
    assert re.search(r"<td>shows what the image chosen before it shows</td><td>\d+</td>", page)
    assert "of 7 images localized without themselves" in out

    later = write_drive(tmp_path / "later", odometry=True, start=0.2)
    both = tmp_path / "both.devmap"
    code = main(
        ["map", "extend", str(output), "--bag", str(later), "--output", str(both), "--label",
         "later", "--distance", "0.6", "--turn", "40", "--overlap", "0.05", *settings]
    )  # fmt: skip
    out, err = capfd.readouterr()
    assert code == 0, err
    [count] = re.findall(r"(\d) of \1 images added as look 'later', \1 of them localized", out)
    assert int(count) in (4, 5)
    assert [r.look for r in Map.load(both).references[7:]] == ["later"] * int(count)
    assert not (tmp_path / "both.devmap.images").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--bag", "{p}/nowhere"], "there is no such bag"),
        (["--bag", "{p}/drive", "--metric"], "--metric does not go with"),
        (["--bag", "{p}/drive", "--distance", "0"], "--distance 0: must be above 0"),
        (["--images", "{p}/drive", "--topic", "/front"], "--topic is of the images of a bag"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    (tmp_path / "drive").mkdir()
    filled = [argument.format(p=tmp_path) for argument in arguments]
    code = main(["map", "build", *filled, "--output", str(tmp_path / "new.devmap")])
    _, err = capfd.readouterr()
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new.devmap").exists()
