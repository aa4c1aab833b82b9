"""Writes small folders with the layout and the formats of each benchmark, with exact truth.

The pictures are of the simulated wall. What is in the folders otherwise, names, lists, models, is
as the benchmarks' own notes describe it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from deviloc_ros.datasets.colmap import PosedImage, write_posed_images
from deviloc_ros.datasets.sparse_model import ObservingImage, SparseModel
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.simulation import wall

WIDTH, HEIGHT, FOCAL = 320, 240, 270.0
PINHOLE = Camera("PINHOLE", WIDTH, HEIGHT, (FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2))
RADIAL = Camera("SIMPLE_RADIAL", WIDTH, HEIGHT, (FOCAL, WIDTH / 2, HEIGHT / 2, 0.0))
OPENCV = Camera("OPENCV", WIDTH, HEIGHT, (*PINHOLE.params, 0.0, 0.0, 0.0, 0.0))
BASE_FROM_CAMERA = Transform.from_matrix([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1]])
REFERENCES, QUERIES = (-1.6, -0.8, 0.0, 0.8, 1.6), (-0.5, 0.6)
SETTINGS = (
    "--set", "features.max_size=320", "--set", "features.num_keypoints=768",
    "--set", "lifting.neighbours=0", "--set", "matching.context=never",
    "--set", "device=cpu", "--set", "features.backend=torch", "--pictures", "0",
)  # fmt: skip
Truth = Mapping[str, Transform]


def camera_from_map(x: float) -> Transform:
    """Return the pose of a camera that looks at the wall from x, turned a little."""
    return (wall.before_the_wall(x, yaw=3.0 * x) @ BASE_FROM_CAMERA).inverse()


def posed(names: Sequence[str], places: Sequence[float], camera: Camera) -> list[PosedImage]:
    """Return images at places along the wall."""
    return [
        PosedImage(name, camera, camera_from_map(x)) for name, x in zip(names, places, strict=True)
    ]


def photograph(folder: Path, images: Sequence[PosedImage], suffix: str | None = None) -> None:
    """Write the pictures; a suffix replaces that of the names."""
    for image in images:
        path = folder / image.name
        path = path if suffix is None else path.with_suffix(suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = wall.view(image.camera_from_map.inverse(), PINHOLE)
        quality = [cv2.IMWRITE_JPEG_QUALITY, 98] if path.suffix == ".jpg" else []
        assert cv2.imwrite(str(path), picture, quality)


@cache
def points(count: int = 700) -> np.ndarray:
    """Return points (N, 3) on the wall and its pillars."""
    generator = np.random.default_rng(0)
    found = []
    for board in wall.BOARDS:
        share = count if board is wall.BOARDS[0] else count // 8
        x = generator.uniform(max(board.left, -6), min(board.right, 6), share)
        found.append(np.stack([x, np.full(share, board.y), generator.uniform(-2, 4, share)], 1))
    return np.concatenate(found)


def sparse(images: Sequence[PosedImage]) -> SparseModel:
    """Return the model that perfect structure from motion makes of images."""
    every = points()
    observing = []
    for image in images:
        pixels = image.camera.project(image.camera_from_map.apply(every))
        centre = image.camera_from_map.inverse().translation
        inside = np.all((pixels > 4) & (pixels < (WIDTH - 4, HEIGHT - 4)), axis=1)
        seen = inside & ~_hidden(centre, every)
        keys = np.flatnonzero(seen)
        observing.append(ObservingImage(image, pixels[keys], keys + 1))
    return SparseModel(observing, {i + 1: point for i, point in enumerate(every)})


def _hidden(centre: np.ndarray, every: np.ndarray) -> np.ndarray:
    """Return which points are behind a pillar."""
    hidden = np.zeros(len(every), bool)
    for board in wall.BOARDS[1:]:
        behind = every[:, 1] > board.y + 1e-6
        share = (board.y - centre[1]) / (every[:, 1] - centre[1])
        x, _, z = (centre + share[:, None] * (every - centre)).T
        hidden |= behind & (x > board.left) & (x < board.right) & (z < board.top)
    return hidden


def write_model(folder: Path, model: SparseModel, text: bool) -> None:
    """Write a model as COLMAP does."""
    folder.mkdir(parents=True)
    colmap = model.colmap()
    (colmap.write_text if text else colmap.write_binary)(folder)


def renamed(images: Sequence[PosedImage], names: Sequence[str]) -> list[PosedImage]:
    return [replace(image, name=name) for image, name in zip(images, names, strict=True)]


def truth_of(images: Sequence[PosedImage]) -> Truth:
    return {image.name: image.camera_from_map for image in images}


def intrinsics(images: Sequence[PosedImage]) -> str:
    return "".join(f"{image.name} {image.camera}\n" for image in images)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_aachen(root: Path, kind: str = "nvm") -> Truth:
    """Write version 1.0, with its NVM file or with a COLMAP model, or version 1.1."""
    images = root / "images" / "images_upright"
    references = posed([f"db/{i}.jpg" for i in range(1, 6)], REFERENCES, RADIAL)
    names = ["query/day/milestone/2011-12-17_14-28-15_257.jpg", "query/night/nexus5x/IMG_1.jpg"]
    queries = posed(names, QUERIES, RADIAL)
    photograph(images, [*references, *queries])
    for time, image in zip(("day", "night"), queries, strict=True):
        path = root / "queries" / f"{time}_time_queries_with_intrinsics.txt"
        write_text(path, f"# a comment\n{intrinsics([image])}")
    model = sparse(references)
    if kind == "nvm":
        write_nvm(root / "3D-models" / "aachen_cvpr2018_db.nvm", model)
        write_text(root / "3D-models" / "database_intrinsics.txt", intrinsics(references))
    else:
        name = "aachen_v_1_1" if kind == "v1.1" else "aachen_v_1_0"
        write_model(root / "3D-models" / name, model, text=False)
    return {Path(image.name).name: image.camera_from_map for image in queries}


def write_nvm(path: Path, model: SparseModel) -> None:
    """Write a model as VisualSFM does; the focal lengths are wrong, as nobody should use them."""
    lines = ["NVM_V3", "", str(len(model.images))]
    seen: dict[int, list[str]] = {}
    for index, image in enumerate(model.images):
        pose = image.posed.camera_from_map
        numbers = [*pose.quaternion_wxyz, *pose.inverse().translation]
        text = " ".join(f"{number:.12f}" for number in numbers)
        lines.append(f"{image.posed.name} 999.0 {text} 0 0")
        for feature, (key, pixel) in enumerate(zip(image.points, image.pixels, strict=True)):
            seen.setdefault(int(key), []).append(f"{index} {feature} {pixel[0]} {pixel[1]}")
    lines += ["", str(len(seen))]
    for key, observations in seen.items():
        x, y, z = model.points[key]
        lines.append(f"{x} {y} {z} 64 57 51 {len(observations)} {' '.join(observations)}")
    write_text(path, "\n".join([*lines, "", "0", ""]))


def write_cmu(root: Path, slices: Sequence[int] = (2, 13)) -> Truth:
    """Write slices; the first query of each has a public pose, the other is in the list."""
    write_text(
        root / "intrinsics.txt", f"# camera intrinsics\nc0 {OPENCV}\nc1 {OPENCV}\n"
    )  # fmt: skip
    truth: dict[str, Transform] = {}
    for number in slices:
        folder = root / f"slice{number}"
        names = [f"img_{number}{i:04}_c{i % 2}_130339847504603{i}us.jpg" for i in range(5)]
        references = posed(names, REFERENCES, OPENCV)
        names = [f"img_{number}{i:04}_c{i % 2}_128334787953421{i}us.jpg" for i in (5, 6)]
        queries = posed(names, QUERIES, OPENCV)
        photograph(folder / "database", references)
        photograph(folder / "query", queries)
        write_model(folder / "sparse", sparse(references), text=False)
        public, hidden = queries
        write_text(folder / f"test-images-slice{number}.txt", f"{hidden.name}\n")
        pose = public.camera_from_map
        values = [*pose.quaternion_wxyz, *pose.inverse().translation]
        line = f"{public.name} {' '.join(repr(float(value)) for value in values)}\n"
        write_text(folder / "camera-poses" / "slice-survey1.txt", line)
        truth |= truth_of(queries)
    return truth


def write_seven_scenes(root: Path, scene: str = "chess") -> Truth:
    """Write a scene whose model has the test images in it."""
    names = [f"seq-01/frame-{i:06}.color.png" for i in range(5)]
    references = posed(names, REFERENCES, RADIAL)
    queries = posed([f"seq-03/frame-{i:06}.color.png" for i in (0, 1)], QUERIES, RADIAL)
    photograph(root / scene, [*references, *queries])
    folder = root / "7scenes_sfm_triangulated" / scene / "triangulated"
    write_model(folder, sparse([*queries, *references]), text=False)
    write_text(folder / "list_test.txt", "".join(f"{image.name}\n" for image in queries))
    return truth_of(queries)


def write_cambridge(root: Path, scene: str = "ShopFacade") -> Truth:
    """Write a scene whose models are of images of half the size; every image has its camera."""
    references = posed([f"seq2/frame{i:05}.png" for i in range(1, 6)], REFERENCES, RADIAL)
    queries = posed([f"seq1/frame{i:05}.png" for i in (1, 2)], QUERIES, RADIAL)
    photograph(root / scene, [*references, *queries])
    folder = root / "CambridgeLandmarks_Colmap_Retriangulated_1024px" / scene
    model = sparse(references)
    halves = [image.resized(WIDTH // 2, HEIGHT // 2) for image in model.images]
    write_model(folder / "model_train", SparseModel(halves, model.points), text=False)
    half = RADIAL.scaled(WIDTH // 2, HEIGHT // 2)
    every = [replace(image, camera=half) for image in (*references, *queries)]
    write_posed_images(folder / "empty_all", every)
    write_text(folder / "list_query.txt", "".join(f"{image.name}\n" for image in queries))
    return truth_of(queries)


def write_robotcar(root: Path) -> Truth:
    """Write one location; names in models and lists end in .png, files in .jpg.

    At dawn there is an image of the left camera, too. The rear one is the car.
    """
    names = [f"overcast-reference/rear/{1417176458999821 + i}.png" for i in range(5)]
    references = posed(names, REFERENCES, PINHOLE)
    names = ["dawn/rear/1418721355450545.png", "night/rear/1418237150265011.png"]
    queries = posed(names, QUERIES, PINHOLE)
    (left,) = posed([names[0].replace("rear", "left")], [QUERIES[0] + 0.7], PINHOLE)
    photograph(root / "images", [*references, *queries, left], ".jpg")
    rear_from_left = queries[0].camera_from_map @ left.camera_from_map.inverse()
    individual = root / "3D-models" / "individual"
    write_model(individual / "colmap_reconstructions" / "001_aligned", sparse(references), True)
    for camera in ("left", "rear", "right"):
        values = zip(("fx", "fy", "cx", "cy"), PINHOLE.params, strict=True)
        text = "".join(f"{key} {value}\n" for key, value in values)
        write_text(root / "intrinsics" / f"{camera}_intrinsics.txt", text)
        car_from_camera = rear_from_left.matrix if camera == "left" else np.eye(4)
        rows = "\n".join(",".join(str(float(v)) for v in row) for row in car_from_camera)
        write_text(root / "extrinsics" / f"{camera}_extrinsics.txt", rows)
    every = [*queries, left]
    listed = [image.name.replace(".png", ".jpg") for image in every]
    path = individual / "queries_per_location" / "queries_location_001.txt"
    write_text(path, "".join(f"{name}\n" for name in listed))
    public, hidden = queries
    matrix = public.camera_from_map.inverse().matrix.ravel()
    line = f"{public.name} {' '.join(repr(float(value)) for value in matrix)}\n"
    write_text(root / "robotcar_v2_train.txt", line)
    write_text(root / "robotcar_v2_test.txt", f"{hidden.name}\n")
    return {
        "/".join(name.split("/")[-2:]): image.camera_from_map
        for name, image in zip(listed, every, strict=True)
    }


def write_kapture(root: Path) -> Truth:
    """Write a mapping kapture with a rig and a query kapture with poses of its camera."""
    references = posed([f"seq/{i}.jpg" for i in range(5)], REFERENCES, RADIAL)
    queries = posed([f"q/{i}.jpg" for i in range(2)], QUERIES, RADIAL)
    camera_from_rig = Transform.from_matrix([[0, 1, 0, 0.1], [-1, 0, 0, 0], [0, 0, 1, 0.2]])
    sensor = ", ".join(["camera0", "", "camera", *str(RADIAL).split()])
    for name, images, rig in (("mapping", references, True), ("query", queries, False)):
        folder = root / name / "sensors"
        photograph(folder / "records_data", images)
        head = "# kapture format: 1.1\n"
        more = "gps, , gnss, EPSG:4326\nnaked, , camera, UNKNOWN_CAMERA, 320, 240\n"
        write_text(folder / "sensors.txt", f"{head}# id, name, type, ...\n{sensor}\n{more}")
        records = [f"{i:04}, camera0, {image.name}\n" for i, image in enumerate(images)]
        write_text(folder / "records_camera.txt", head + "".join(records))
        rows = []
        for i, image in enumerate(images):
            pose = image.camera_from_map
            pose = camera_from_rig.inverse() @ pose if rig else pose
            rows.append(f"{i}, {'rig' if rig else 'camera0'}, {_comma(pose)}\n")
        write_text(folder / "trajectories.txt", head + "".join(rows))
        if rig:
            text = f"{head}rig, camera0, {_comma(camera_from_rig)}\n"
            write_text(folder / "rigs.txt", text)
    return truth_of(queries)


def _comma(pose: Transform) -> str:
    return ", ".join(repr(float(v)) for v in (*pose.quaternion_wxyz, *pose.translation))


def write_colmap_folder(root: Path) -> Truth:
    """Write a folder whose model holds the queries, too."""
    references = posed([f"{i}.jpg" for i in range(5)], REFERENCES, RADIAL)
    queries = posed(["q0.jpg", "q1.jpg"], QUERIES, RADIAL)
    photograph(root / "images", [*references, *queries])
    write_model(root / "sparse" / "0", sparse([*references, *queries]), text=True)
    write_text(root / "queries.txt", f"q0.jpg\nq1.jpg {PINHOLE}\n")
    return truth_of(queries)
