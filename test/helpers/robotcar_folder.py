"""Writes folders with the layout and the formats of Oxford RobotCar and of RobotCar Seasons.

The extrinsics and the axes of `G_camera_image` are the published ones; the lens, the drive and the
pictures are made up, so that the truth is known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from scipy.spatial.transform import Rotation

from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation.street import LANE, Street

SECOND = 1_000_000_000
START = 1_417_176_458_000_000_000
ORIGIN = (620_000.0, 5_735_000.0, 112.0)
HEIGHT = 1.52  # of the stereo camera, the vehicle's origin, above the road
SPEED = 4.0

# As published with the data set's SDK: x y z roll pitch yaw.
EXTRINSICS = {
    "ins": (-1.7132, 0.1181, 1.1948, -0.0125, 0.0400, 0.0050),
    "mono_left": (-0.0905, 1.6375, 0.2803, 0.2079, -0.2339, 1.2321),
    "mono_rear": (-2.0582, 0.0894, 0.3675, -0.0119, -0.2498, 3.1283),
    "mono_right": (-0.2587, -1.6810, 0.3226, -0.1961, -0.2469, -1.2675),
    "stereo": (0, 0, 0, 0, 0, 0),
}
G_CAMERA_IMAGE = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], float)
CENTRES = {"mono_left": (158.3, 162.1), "mono_rear": (161.4, 157.2), "mono_right": (160.2, 155.0)}
SIDES = {"left": "mono_left", "rear": "mono_rear", "right": "mono_right"}
STEREO = {"stereo_left": "stereo_wide_left", "stereo_centre": "stereo_narrow_left",
          "stereo_right": "stereo_wide_right"}  # fmt: skip

Colours = Callable[[Transform, np.ndarray], np.ndarray]
"""(map_from_optical, rays (H, W, 3) with z = 1) to RGB (H, W, 3), uint8."""


def matrix(xyzrpy: Sequence[float]) -> np.ndarray:
    """Return six numbers as a 4x4 matrix: yaw about z after pitch about y after roll about x."""
    x, y, z, roll, pitch, yaw = xyzrpy
    (cr, sr), (cp, sp), (cy, sy) = ((np.cos(a), np.sin(a)) for a in (roll, pitch, yaw))
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    result = np.eye(4)
    result[:3, :3] = about_z @ about_y @ about_x
    result[:3, 3] = x, y, z
    return result


def six(target_from_source: np.ndarray) -> list[float]:
    """Return a 4x4 matrix as x y z roll pitch yaw."""
    r = target_from_source[:3, :3]
    angles = np.arctan2(r[2, 1], r[2, 2]), -np.arcsin(r[2, 0]), np.arctan2(r[1, 0], r[0, 0])
    return [*target_from_source[:3, 3], *angles]


NED_FROM_ENU = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]], float)
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # vehicle (z down) from base (z up), and back


@dataclass(frozen=True)
class Lens:
    """One camera: a fisheye lens, and the pinhole its images are undistorted to."""

    model: str
    size: int
    focal: float
    centre: tuple[float, float]

    def rays(self) -> np.ndarray:
        """Return the viewing rays of the undistorted image's pixels (S, S, 3), z = 1."""
        v, u = np.mgrid[: self.size, : self.size].astype(float)
        x, y = (u - self.centre[0]) / self.focal, (v - self.centre[1]) / self.focal
        return np.stack([x, y, np.ones_like(x)], -1)

    @cached_property
    def fisheye(self) -> tuple[np.ndarray, np.ndarray]:
        """Matrix and coefficients of the lens, first pixel's centre at (0, 0)."""
        f, c = 0.95 * self.focal, self.size / 2
        return np.array([[f, 0, c + 1.3], [0, f, c - 2.1], [0, 0, 1]]), np.array(
            [-0.02, 0.004, -0.001, 0.0002]
        )

    def table(self) -> np.ndarray:
        """Return the distorted pixel of each undistorted one: (2, S * S), x then y."""
        # OpenCV reads a view with gaps wrongly.
        rays = np.ascontiguousarray(self.rays()[..., :2]).reshape(-1, 1, 2)
        return cv2.fisheye.distortPoints(rays, *self.fisheye)[:, 0].T

    def distorted_rays(self) -> np.ndarray:
        """Return the viewing rays of the distorted image's pixels (S, S, 3), z = 1."""
        v, u = np.mgrid[: self.size, : self.size].astype(float)
        pixels = np.stack([u, v], -1).reshape(-1, 1, 2)
        flat = cv2.fisheye.undistortPoints(pixels, *self.fisheye)[:, 0]
        return np.concatenate([flat, np.ones((len(flat), 1))], 1).reshape(self.size, self.size, 3)

    @property
    def camera(self) -> Camera:
        """The undistorted image's camera, in COLMAP's pixel convention."""
        x, y = self.centre
        return Camera("PINHOLE", self.size, self.size, (self.focal, self.focal, x + 0.5, y + 0.5))


LENSES = {
    model: Lens(model, 320, 125.0, CENTRES.get(model, (159.0, 161.0)))
    for model in (*SIDES.values(), *STEREO.values())
}


def base_from_optical(extrinsics: str) -> Transform:
    """Return where a camera sits: its file says camera_from_vehicle."""
    vehicle_from_camera = np.linalg.inv(matrix(EXTRINSICS[extrinsics]))
    return Transform.from_matrix(FLIP @ vehicle_from_camera @ G_CAMERA_IMAGE)


def map_from_base(stamp: int) -> Transform:
    """Return the drive: along the simulated street, the base leaning a little."""
    along = 2.0 + SPEED * (stamp - START) / SECOND
    lean = Transform(Rotation.from_euler("xyz", [0.01, -0.02, 0.0]), np.zeros(3))
    return Street().pose(along, -LANE, HEIGHT) @ lean


def directions(map_from_optical: Transform, rays: np.ndarray) -> np.ndarray:
    """Colour every direction smoothly, differently along the street: a scene without objects."""
    along = map_from_optical.translation[0]
    d = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    d = d @ map_from_optical.rotation.as_matrix().T
    wave = np.stack([np.sin(4 * d[..., 0] + along), np.cos(5 * d[..., 1]), np.sin(6 * d[..., 2])])
    return (127.5 + 90 * np.moveaxis(wave, 0, -1)).round().astype(np.uint8)


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """Keep one colour a pixel; the pattern is that of the first two rows, "rggb" or "gbrg"."""
    channel = {"r": 0, "g": 1, "b": 2}
    result = np.empty(rgb.shape[:2], np.uint8)
    for index, colour in enumerate(pattern):
        row, column = divmod(index, 2)
        result[row::2, column::2] = rgb[row::2, column::2, channel[colour]]
    return result


def write_sdk(folder: Path) -> None:
    """Write models and extrinsics."""
    (folder / "models").mkdir(parents=True)
    (folder / "extrinsics").mkdir()
    for name, values in EXTRINSICS.items():
        text = " ".join(f"{value:.4f}" for value in values)
        (folder / "extrinsics" / f"{name}.txt").write_text(text + "\n")
    for name, lens in LENSES.items():
        rows = [[lens.focal, lens.focal, *lens.centre], *G_CAMERA_IMAGE]
        text = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in rows)
        (folder / "models" / f"{name}.txt").write_text(text + "\n")
        lens.table().astype("<f8").tofile(folder / "models" / f"{name}_distortion_lut.bin")


def write_sequence(
    folder: Path,
    count: int = 4,
    cameras: Sequence[str] = ("left", "rear", "right"),
    colours: Colours = directions,
    period: float = 0.25,
) -> Mapping[str, list[int]]:
    """Write a raw sequence; return the stamps (ns) of each camera's images."""
    folder.mkdir(parents=True)
    stamps: dict[str, list[int]] = {}
    for place, name in enumerate(cameras):
        model = SIDES.get(name) or STEREO[name]
        stereo = name in STEREO
        inside = Path("stereo") / name.removeprefix("stereo_") if stereo else Path(model)
        (folder / inside).mkdir(parents=True)
        # Mono cameras fire one after the other, a few milliseconds apart.
        shift = 7_000_000 + (0 if stereo else 3_000_000 * place)
        stamps[name] = [START + shift + round(i * period * SECOND) for i in range(count)]
        listed = folder / ("stereo.timestamps" if stereo else f"{model}.timestamps")
        listed.write_text("".join(f"{stamp // 1000} 1\n" for stamp in stamps[name]))
        lens = LENSES[model]
        mounted = base_from_optical("stereo" if stereo else model)
        for stamp in stamps[name]:
            rgb = colours(map_from_base(stamp) @ mounted, lens.distorted_rays())
            raw = mosaic(rgb, "gbrg" if stereo else "rggb")
            assert cv2.imwrite(str(folder / inside / f"{stamp // 1000}.png"), raw)
    last = START + round(count * period * SECOND)
    _write_absolute(folder, last)
    _write_relative(folder, last)
    return stamps


def utm_from_base(stamp: int) -> np.ndarray:
    """Return the drive in UTM: east, north, up."""
    result = map_from_base(stamp).matrix
    result[:3, 3] += ORIGIN
    return result


def _write_absolute(folder: Path, last: int) -> None:
    columns = "northing,easting,down,utm_zone,velocity_north,velocity_east,velocity_down"
    head = f"latitude,longitude,altitude,{columns},roll,pitch,yaw"
    ins = [f"timestamp,ins_status,{head}"]
    rtk = [f"timestamp,{head}"]
    vehicle_from_ins = matrix(EXTRINSICS["ins"])
    for stamp in range(START - SECOND // 10, last + SECOND // 10, SECOND // 50):
        ned_from_ins = NED_FROM_ENU @ utm_from_base(stamp) @ FLIP @ vehicle_from_ins
        north, east, down, *angles = six(ned_from_ins)
        turned = ",".join(f"{angle:.10f}" for angle in angles)
        row = f"51.76,-1.26,110.0,{north:.6f},{east:.6f},{down:.6f},30U,0.0,4.0,0.0,{turned}"
        ins.append(f"{stamp // 1000},INS_SOLUTION_GOOD,{row}")
        rtk.append(f"{stamp // 1000},{row}")
    # While an INS aligns itself it gives nonsense, and says so.
    ins.insert(1, f"{START // 1000 - 999_999},INS_ALIGNING,0,0,0,0,0,0,30U,0,0,0,0,0,0")
    (folder / "gps").mkdir()
    (folder / "gps" / "ins.csv").write_text("\n".join(ins) + "\n")
    (folder / "rtk.csv").write_text("\n".join(rtk) + "\n")
    fixes = ["timestamp,num_satellites,latitude,longitude,altitude,latitude_sigma,longitude_sigma,"
             "altitude_sigma,northing,easting,down,utm_zone"]  # fmt: skip
    for stamp in range(START, last, SECOND // 5):
        fixes.append(f"{stamp // 1000},9,51.7612,-1.2604,110.1,1.5,1.2,2.5,5735000,620000,-112,30U")
    (folder / "gps" / "gps.csv").write_text("\n".join(fixes) + "\n")


def _write_relative(folder: Path, last: int) -> None:
    rows = ["source_timestamp,destination_timestamp,x,y,z,roll,pitch,yaw"]
    times = list(range(START, last + SECOND // 10, SECOND // 16))
    for earlier, later in itertools.pairwise(times):
        step = np.linalg.inv(map_from_base(earlier).matrix) @ map_from_base(later).matrix
        values = ",".join(f"{value:.9f}" for value in six(FLIP @ step @ FLIP))
        rows.append(f"{later // 1000},{earlier // 1000},{values}")
    (folder / "vo").mkdir()
    (folder / "vo" / "vo.csv").write_text("\n".join(rows) + "\n")


WORLD_FROM_MAP = Transform(Rotation.from_euler("x", np.pi), np.zeros(3))
"""RobotCar Seasons' frame has z down."""


def write_seasons(
    folder: Path,
    places: Sequence[Sequence[int]],
    queries: Mapping[str, Sequence[int]],
    colours: Colours = directions,
    depths: Callable[[Camera, Transform], np.ndarray] | None = None,
    cameras: Sequence[str] = ("left", "rear", "right"),
) -> None:
    """Write RobotCar Seasons.

    Args:
        folder: gets it.
        places: stamps of the reference images of each submap.
        queries: condition to stamps.
        colours: the scene.
        depths: (H, W) depth of a view; gives the models points. Without, they have none.
        cameras: which sides.
    """
    for name in ("intrinsics", "extrinsics"):
        (folder / name).mkdir(parents=True)
    car_from_base = G_CAMERA_IMAGE.T @ FLIP
    for side in cameras:
        camera = LENSES[SIDES[side]].camera
        values = "\n".join(
            f"{key} {value:.6f}" for key, value in zip(("fx", "fy", "cx", "cy"), camera.params,
                                                       strict=True)
        )  # fmt: skip
        (folder / "intrinsics" / f"{side}_intrinsics.txt").write_text(values + "\n")
        car_from_optical = car_from_base @ base_from_optical(SIDES[side]).matrix
        rows = "\n".join(", ".join(f"{value:.9f}" for value in row) for row in car_from_optical)
        (folder / "extrinsics" / f"{side}_extrinsics.txt").write_text(rows + "\n")
    train, test = [], []
    everything = {"overcast-reference": [stamp for place in places for stamp in place], **queries}
    for condition, stamps in everything.items():
        for side in cameras:
            lens = LENSES[SIDES[side]]
            (folder / "images" / condition / side).mkdir(parents=True)
            for index, stamp in enumerate(stamps):
                map_from_optical = map_from_base(stamp) @ base_from_optical(SIDES[side])
                name = f"{condition}/{side}/{stamp // 1000}"
                rgb = colours(map_from_optical, (lens.rays()))
                path = str(folder / "images" / f"{name}.jpg")
                assert cv2.imwrite(path, rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
                if side != "rear" or condition == "overcast-reference":
                    continue
                pose = (WORLD_FROM_MAP @ map_from_optical).matrix.ravel()
                test.append(f"{name}.jpg")
                if index % 2 == 0:
                    # The list with poses is older than the files it names.
                    listed = test.pop().replace(".jpg", ".png")
                    train.append(f"{listed} " + " ".join(f"{value:.9f}" for value in pose))
    (folder / "robotcar_v2_train.txt").write_text("\n".join(train) + "\n")
    (folder / "robotcar_v2_test.txt").write_text("\n".join(test) + "\n")
    individual = folder / "3D-models" / "individual"
    (individual / "queries_per_location").mkdir(parents=True)
    for number, stamps in enumerate(places, start=1):
        names = [f"{c}/rear/{s // 1000}.jpg" for c, of in queries.items() for s in of]
        listed = individual / "queries_per_location" / f"queries_location_{number:03d}.txt"
        listed.write_text("\n".join(names) + "\n")
        model = individual / "colmap_reconstructions" / f"{number:03d}_aligned"
        model.mkdir(parents=True)
        _write_model(model, stamps, cameras, depths)


def _write_model(
    folder: Path,
    stamps: Sequence[int],
    cameras: Sequence[str],
    depths: Callable[[Camera, Transform], np.ndarray] | None,
) -> None:
    """Write a submap's COLMAP model as text; its image names end in .png, as the real ones do."""
    model = pycolmap.Reconstruction()
    views = []
    for number, side in enumerate(cameras, start=1):
        camera = LENSES[SIDES[side]].camera
        model.add_camera_with_trivial_rig(
            pycolmap.Camera(camera_id=number, model="PINHOLE", width=camera.width,
                            height=camera.height, params=list(camera.params))
        )  # fmt: skip
        for stamp in stamps:
            pose = (map_from_base(stamp) @ base_from_optical(SIDES[side])).inverse()
            views.append((f"overcast-reference/{side}/{stamp // 1000}.png", number, camera, pose))
    pixels: list[list[np.ndarray]] = [[] for _ in views]
    tracks = []
    if depths is not None:
        maps = [depths(camera, pose.inverse()) for _, _, camera, pose in views]
        for index, (_, _, camera, pose) in enumerate(views):
            points = _points(camera, pose, maps[index])
            seen: list[list[tuple[int, int]]] = [[] for _ in points]
            for other, (_, _, lens, at) in enumerate(views):
                local = at.apply(points)
                found = lens.project(local)
                inside = (found >= 0).all(axis=1) & (found < (lens.width, lens.height)).all(axis=1)
                for k in np.flatnonzero(inside):
                    depth = maps[other][int(found[k, 1]), int(found[k, 0])]
                    if other == index or abs(local[k, 2] - depth) < 0.02 * depth:
                        seen[k].append((other, len(pixels[other])))
                        pixels[other].append(found[k])
            tracks += zip(points, seen, strict=True)
    for image_id, ((name, camera_id, _, pose), found) in enumerate(
        zip(views, pixels, strict=True), start=1
    ):
        world = pose @ WORLD_FROM_MAP.inverse()
        image = pycolmap.Image(name=name, camera_id=camera_id, image_id=image_id,
                               points2D=[pycolmap.Point2D(xy) for xy in found])  # fmt: skip
        rigid = pycolmap.Rigid3d(pycolmap.Rotation3d(world.quaternion_xyzw), world.translation)
        model.add_image_with_trivial_frame(image, rigid)
    for point, seen in tracks:
        if len(seen) > 1:
            track = pycolmap.Track([pycolmap.TrackElement(i + 1, j) for i, j in seen])
            model.add_point3D(WORLD_FROM_MAP.apply(point), track)
    model.write_text(folder)
    for newer in ("rigs.txt", "frames.txt"):  # the data set is older than these
        (folder / newer).unlink()


def _points(camera: Camera, camera_from_map: Transform, depth: np.ndarray) -> np.ndarray:
    """Return points on what a camera sees, on a grid of its pixels (N, 3), map frame."""
    y, x = (index.ravel() for index in np.mgrid[6 : camera.height : 14, 6 : camera.width : 14])
    z = depth[y, x]
    near = np.isfinite(z) & (z < 60)
    rays = camera.rays(np.stack([x + 0.5, y + 0.5], 1)[near])
    return camera_from_map.inverse().apply(rays * z[near, None])
