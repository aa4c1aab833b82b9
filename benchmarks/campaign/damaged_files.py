"""Damaged images, checkpoints, text files, YAML files and saved poses."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from random import Random

import yaml

from campaign import mutations, sound
from campaign.cases import Case, allowance
from campaign.supervised import Action
from deviloc_ros.config import LocalizerConfig, load
from deviloc_ros.datasets.poses import read_poses, read_tum
from deviloc_ros.images import image_size, read_gray
from deviloc_ros.maps.map import Map
from deviloc_ros.offline.query_cameras import read_cameras
from deviloc_ros.offline.rig_file import read_rig
from deviloc_ros.robot.saved_pose import load_pose
from deviloc_ros.ros.config.node_config import NodeConfig

BYTES_PER_PIXEL = 16
"""Decoded colour of 16 bits and what is made of it."""


def damaged_image(case: Case) -> Action:
    files = case.inputs.below("images")
    name = case.random.choice(list(files))
    data = files[name]
    if not case.intact and name.endswith(".png") and case.random.random() < 0.3:
        data = _another_size(data, case.random)
    else:
        data = case.damage(data, mutations.mutate_bytes)
    size = case.write({name: data})
    path = case.folder / name

    def run() -> None:
        image_size(path)
        read_gray(path)

    claimed = 400_000_000 if size > 30_000 else size * 10_000 + 1_000_000
    return Action(run, allowance(size) + min(claimed, 40_000_000) * BYTES_PER_PIXEL)


def _another_size(data: bytes, random: Random) -> bytes:
    """Return a PNG whose header claims another size, with the right checksum."""
    sides = [random.choice((0, 1, 63, 65, 5_000, 100_000, 2**31 - 1, 2**32 - 1)) for _ in "wh"]
    header = b"IHDR" + b"".join(side.to_bytes(4, "big") for side in sides) + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def damaged_checkpoint(case: Case) -> Action:
    data = case.inputs.files["network.ckpt"]
    if not case.intact and case.random.random() < 0.6:
        data = _zip_with(case, data)
    else:
        data = case.damage(data, mutations.mutate_bytes)
    size = case.write({"network.ckpt": data})
    # The shapes are wrong even in the sound one: it is refused, but read as a whole.
    return Action(["weights", "import", "network.ckpt"], allowance(size))


def _zip_with(case: Case, data: bytes) -> bytes:
    """Return an archive with a changed member; its checksums are right."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(written, "w") as new:
        names = old.namelist()
        chosen = case.random.choice(
            [n for n in names if n.endswith("data.pkl")] * len(names) + names
        )
        for name in names:
            content = old.read(name)
            if name == chosen:
                content = case.damage(content, mutations.mutate_bytes)
            method = case.random.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))
            new.writestr(name, content, method)
    return written.getvalue()


def damaged_text(case: Case) -> Action:
    """Damage a text file of one record a line, and read it."""
    texts = case.inputs.below("texts")
    poses, positions = case.folder / "poses.txt", "positions.txt"
    name, run = case.random.choice(
        (
            ("poses.txt", lambda: read_poses(poses)),
            ("poses.txt", ["evaluate", "--poses", "poses.txt", "--model", "model"]),
            (
                "poses.txt",
                ["evaluate", "--poses", "poses.txt", "--model", "model", "--align", "se3"],
            ),
            (
                positions,
                ["map", "align", "place.devmap", "--positions", positions, "--output",
                 "out/new.devmap"],
            ),
            (
                positions,
                ["map", "align", "place.devmap", "--positions", positions, "--wgs84",
                 "--output", "out/new.devmap"],
            ),
            ("tum.txt", lambda: read_tum(case.folder / "tum.txt")),
            ("cameras.txt", lambda: read_cameras(case.folder / "cameras.txt")),
            ("one_camera.txt", lambda: read_cameras(case.folder / "one_camera.txt")),
            (
                "stats.json",
                ["evaluate", "--poses", "poses.txt", "--model", "model", "--stats", "stats.json"],
            ),
        )
    )  # fmt: skip
    files = {n: texts[n] for n in ("poses.txt", positions, name)}
    if name == "stats.json" and not case.intact and case.random.random() < 0.6:
        tree = mutations.mutate_tree(json.loads(files[name]), case.random)
        files[name] = json.dumps(tree).encode()
    else:
        files[name] = case.damage(files[name], mutations.mutate_text)
    size = case.write(files)
    if isinstance(run, list):
        model = case.inputs.below("models/bin")
        case.write({f"model/{n}": content for n, content in model.items()})
        case.write({"place.devmap": case.inputs.files["place.devmap"]})
    return Action(run, allowance(size), {"new.devmap": Map.load})


def damaged_yaml(case: Case) -> Action:
    """Damage a configuration, a rig file or a parameter file of the node."""
    path = case.folder / "file.yaml"
    name, run = case.random.choice(
        (
            ("config.yaml", lambda: load(LocalizerConfig, path)),
            ("rig.yaml", lambda: read_rig(path, NodeConfig)),
            ("node.yaml", lambda: read_rig(path, NodeConfig)),
        )
    )
    content = case.inputs.files[f"texts/{name}"]
    if not case.intact and case.random.random() < 0.5:
        tree = mutations.mutate_tree(yaml.safe_load(content), case.random)
        text = yaml.safe_dump(tree, allow_unicode=True, sort_keys=False)
        content = text.encode("utf-8", "surrogatepass")
    else:
        content = case.damage(content, mutations.mutate_text)
    return Action(run, allowance(case.write({"file.yaml": content})))


def damaged_pose(case: Case) -> Action:
    content = case.inputs.files["texts/saved.json"]
    if not case.intact and case.random.random() < 0.6:
        content = json.dumps(mutations.mutate_tree(sound.saved_pose(), case.random)).encode()
    else:
        content = case.damage(content, mutations.mutate_text)
    size = case.write({"saved.json": content})
    path, name = case.folder / "saved.json", sound.saved_pose()["map"]
    return Action(lambda: load_pose(path, name, 0, 0.1, 0.01), allowance(size))
