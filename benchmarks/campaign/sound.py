"""Sound inputs of every kind, small: what the campaign damages."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycolmap
import torch
import yaml
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from scipy.spatial.transform import Rotation

from deviloc_ros.bags import types
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.poses import write_poses
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.maps.calibration import Calibration
from deviloc_ros.maps.map import Map
from deviloc_ros.maps.reference import Reference
from deviloc_ros.ros.config.node_config import NodeConfig

CAMERA = Camera("PINHOLE", 64, 48, (60.0, 60.0, 32.0, 24.0))
SUFFIXES = (".png", ".jpg", ".webp", ".tif", ".bmp", ".pgm", ".ppm", ".jp2")
SECOND = 1_000_000_000


def pictures(count: int = 4) -> list[NDArray[np.uint8]]:
    """Return images (48, 64) of soft noise."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (count, 12, 16), dtype=np.uint8)
    return [np.asarray(cv2.resize(item, (64, 48)), dtype=np.uint8) for item in noise]


def image_files() -> dict[str, bytes]:
    """Return an image in every format, colour and gray, by name."""
    gray = pictures(1)[0]
    colour = np.dstack([gray, gray[::-1], gray[:, ::-1]])
    files = {f"gray{s}": cv2.imencode(s, gray)[1].tobytes() for s in SUFFIXES if s != ".ppm"}
    files |= {f"colour{s}": cv2.imencode(s, colour)[1].tobytes() for s in SUFFIXES if s != ".pgm"}
    files["deep.png"] = cv2.imencode(".png", gray.astype(np.uint16) * 257)[1].tobytes()
    return files


def posed_names(model: Path) -> list[str]:
    """Return the names of the images of a model."""
    return sorted(image.name for image in pycolmap.Reconstruction(model).images.values())


def write_models(folder: Path) -> None:
    """Write a COLMAP model of rigs and points as folder/bin and folder/txt."""
    options = pycolmap.SyntheticDatasetOptions()
    options.num_rigs = options.num_cameras_per_rig = 2
    options.num_frames_per_rig = 3
    options.num_points3D = 30
    pycolmap.set_random_seed(0)
    model = pycolmap.synthesize_dataset(options)
    for name, write in (("bin", model.write_binary), ("txt", model.write_text)):
        (folder / name).mkdir(parents=True)
        write(folder / name)


def model_poses(model: Path) -> dict[str, Transform]:
    """Return camera_from_map of every image of a model."""
    poses = {}
    for image in pycolmap.Reconstruction(model).images.values():
        x, y, z, w = image.cam_from_world().rotation.quat
        poses[image.name] = Transform.from_quaternion(
            (w, x, y, z), image.cam_from_world().translation
        )
    return dict(sorted(poses.items()))


def write_map(path: Path, poses: dict[str, Transform], features: int = 40) -> None:
    """Write a map of random features that has every array and these references."""
    generator = np.random.default_rng(0)
    count, references = len(poses) * features, len(poses)
    points, seen = 30, 10
    descriptors = generator.normal(size=(count, 64))
    images = [cv2.imencode(".jpg", pictures(references)[i])[1].ravel() for i in range(references)]
    Map(
        references=[Reference(name, CAMERA, pose) for name, pose in poses.items()],
        feature_offsets=np.arange(references + 1, dtype=np.int64) * features,
        keypoints=generator.uniform(0, (64, 48), (count, 2)).astype(np.float32),
        descriptors=_unit(descriptors).astype(np.float16),
        levels=generator.integers(0, 2, count).astype(np.uint8),
        feature_points=generator.uniform(-5, 5, (count, 3)).astype(np.float32),
        confidence=np.ones(count, np.float16),
        global_descriptors=_unit(generator.normal(size=(references, 512))).astype(np.float16),
        codebook=_unit(generator.normal(size=(8, 64))).astype(np.float32),
        point_array=generator.uniform(-5, 5, (points, 3)).astype(np.float32),
        observation_offsets=np.arange(references + 1, dtype=np.int64) * seen,
        observation_points=generator.integers(0, points, references * seen).astype(np.int32),
        observation_pixels=generator.uniform(0, 48, (references * seen, 2)).astype(np.float32),
        origin=np.array([100.0, 200.0, 0.0]),
        metric=True,
        gravity_aligned=True,
        calibration=Calibration(np.zeros((2, 2))),
        unregistered={"blurred.jpg": "no matches"},
        meta={"program": "campaign"},
        depth_sigma=np.full(count, 0.01, np.float16),
        image_offsets=np.cumsum([0, *(len(image) for image in images)]).astype(np.int64),
        image_bytes=np.concatenate(images),
    ).save(path)


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def messages() -> list[tuple[str, int, Any]]:
    """Return (topic, time of reception, message) of a short drive with everything in it."""
    mount = Transform(
        Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.2, 0.0, 1.0])
    )
    sent: list[tuple[str, int, Any]] = [
        ("/tf_static", 0, types.tf(0, "base_link", "camera", mount)),
        ("/camera/camera_info", 1, types.camera_info(1, "camera", CAMERA)),
        (
            "/initialpose",
            2,
            types.pose_with_covariance(2, "map", Transform.identity(), np.eye(6)),
        ),
    ]
    for index, picture in enumerate(pictures(4)):
        stamp = SECOND * (index + 1)
        moved = Transform(Rotation.identity(), np.array([float(index), 0.0, 0.0]))
        content = cv2.imencode(".jpg", picture)[1].tobytes()
        sent += [
            ("/tf", stamp - 5, types.tf(stamp - 5, "odom", "base_link", moved)),
            ("/odom", stamp - 4, types.odometry(stamp - 4, "odom", "base_link", moved)),
            ("/camera/image", stamp, types.image(stamp, "camera", picture)),
            (
                "/camera/image/compressed",
                stamp + 1,
                types.compressed_image(stamp + 1, "camera", content, "mono8; jpeg compressed "),
            ),
        ]
    return sent


def write_bag(path: Path, storage: str, sent: Sequence[tuple[str, int, Any]]) -> None:
    """Write messages, or serialized (type, bytes), as a bag.

    Args:
        path: its folder.
        storage: `mcap`, `sqlite3`, or with `-compressed` behind it.
        sent: topic, time of reception, and the message or its (type, bytes).
    """
    kind, _, compressed = storage.partition("-")
    plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[kind]
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compressed:
        mode = CompressionMode.STORAGE if kind == "mcap" else CompressionMode.MESSAGE
        writer.set_compression(mode, CompressionFormat.ZSTD)
    connections: dict[str, Any] = {}
    with writer:
        for topic, stamp, message in sent:
            if isinstance(message, tuple):
                name, data = message
            else:
                name = message.__msgtype__
                data = types.TYPESTORE.serialize_cdr(message, name)
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, name, typestore=types.TYPESTORE)
            writer.write(connections[topic], stamp, data)


def checkpoint() -> bytes:
    """Return a file that torch wrote, with the keys of a published one and wrong shapes."""
    from deviloc_ros.models.checkpoint import KINDS

    kind = KINDS[0]
    state = {kind.prefix + key: torch.zeros(2) for key in list(kind.shapes)}
    file = io.BytesIO()
    torch.save({"state_dict": state, "epoch": 3, "lr": [0.1]}, file)
    return file.getvalue()


def configuration() -> bytes:
    """Return a YAML file with every key of a localizer."""
    return yaml.safe_dump(LocalizerConfig().model_dump(), sort_keys=False).encode()


def node_parameters() -> bytes:
    """Return a parameter file of the node with every key."""
    values = NodeConfig().model_dump()
    values["cameras"] = ["front", "back"]
    return yaml.safe_dump({"/**": {"ros__parameters": values}}, sort_keys=False).encode()


RIG = """\
base: base_link
cameras:
  front:
    topic: /camera/image
    camera: PINHOLE 64 48 60 60 32 24
    rectified: 'no'
    extrinsics:
      translation: [0.2, 0.0, 1.0]
      rotation: [-0.5, 0.5, -0.5, 0.5]
  left:
    topic: /camera/image/compressed
    camera_info: /camera/camera_info
sync:
  tolerance: 0.01
"""


def saved_pose() -> dict[str, Any]:
    """Return what the file of the last pose holds."""
    return {
        "map": "0123456789abcdef",
        "stamp": 5,
        "position": [1.0, 2.0, 3.0],
        "quaternion_xyzw": [0.0, 0.0, 0.0, 1.0],
        "position_sigma": 0.5,
        "rotation_sigma": 0.1,
    }


def statistics(poses: dict[str, Transform]) -> dict[str, Any]:
    """Return what `deviloc localize --json` writes of these poses, the part that is read."""
    covariance = (np.eye(6) * 1e-4).tolist()
    return {
        "images": [{"name": name, "localized": True, "covariance": covariance} for name in poses]
    }


def write_texts(folder: Path, poses: dict[str, Transform]) -> None:
    """Write poses, positions, a trajectory, cameras, statistics, YAML files and a saved pose."""
    folder.mkdir()
    write_poses(folder / "poses.txt", poses)
    lines = {
        "positions.txt": [
            f"{name} {' '.join(map(repr, pose.inverse().translation.tolist()))}"
            for name, pose in poses.items()
        ],
        "tum.txt": [f"{i}.5 {i} 0 0 0 0 0 1" for i in range(5)],
        "cameras.txt": [f"{name} {CAMERA}" for name in poses],
        "one_camera.txt": [f"1 {CAMERA}"],
        "rig.yaml": [RIG],
        "saved.json": [json.dumps(saved_pose())],
        "stats.json": [json.dumps(statistics(poses))],
    }
    for name, content in lines.items():
        (folder / name).write_text("\n".join(content) + "\n")
    (folder / "config.yaml").write_bytes(configuration())
    (folder / "node.yaml").write_bytes(node_parameters())
