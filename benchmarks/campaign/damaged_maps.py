"""Damaged maps and COLMAP models."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

from campaign import mutations
from campaign.cases import Case, allowance
from campaign.supervised import Action
from deviloc_ros.datasets.colmap import posed_images, read_model
from deviloc_ros.images import read_gray
from deviloc_ros.maps import map_file
from deviloc_ros.maps.map import Map


def map_bytes(case: Case) -> tuple[str, int]:
    """Write a map whose bytes are changed."""
    name = case.random.choice(("place.devmap", "place.devmap", "tiles.devtiles"))
    files = {n: c for n, c in case.inputs.files.items() if n.endswith((".devmap", ".devtiles"))}
    changed = case.random.choice(("a.devmap", name)) if name == "tiles.devtiles" else name
    files[changed] = case.damage(files[changed], mutations.mutate_bytes)
    return name, case.write(files)


def map_content(case: Case) -> tuple[str, int]:
    """Write a map whose arrays or description are changed, with the right checksums."""
    name = case.random.choice(("place.devmap", "place.devmap", "tiles.devtiles"))
    files = {n: c for n, c in case.inputs.files.items() if n.endswith((".devmap", ".devtiles"))}
    case.write(files)
    kind = map_file.kind_of(case.folder / name)
    content = map_file.read(case.folder / name, kind=kind, resident=1 << 40)
    arrays, description = dict(content.arrays), content.description
    if not case.intact:
        if case.random.random() < 0.6:
            for _ in range(case.random.choice((1, 1, 2))):
                array = case.random.choice(list(arrays))
                arrays[array] = mutations.mutate_array(arrays[array], case.random)
        else:
            description = mutations.mutate_tree(description, case.random)
    try:
        map_file.write(case.folder / name, arrays, description, kind)
    except ValueError:  # JSON has no such number: write it as Python's reader would take it
        text = json.dumps(description, default=str)
        _rewrite_description(case.folder / name, text)
    return name, sum(map(len, files.values()))


def _rewrite_description(path: Path, text: str) -> None:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["description"] = text
    checksum = zlib.crc32(text.encode("utf-8", "replace"))
    header["__metadata__"]["description_checksum"] = str(checksum)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])


def damaged_map(case: Case, write: Callable[[Case], tuple[str, int]]) -> Action:
    name, size = write(case)
    commands = [
        (["map", "info", name, "--json"], {}),
        (["map", "info", name, "--picture", "out/map.png"], {"map.png": read_gray}),
        (
            ["map", "align", name, "--scale", "2", "--output", "out/new.devmap"],
            {"new.devmap": Map.load},
        ),
    ]
    run, outputs = case.random.choice(commands[: 2 if name.endswith("tiles") else 3])
    seconds = 20 if "--picture" in run else 10
    return Action(run, allowance(size), outputs, seconds)


def damaged_model(case: Case, suffix: str) -> Action:
    files = case.inputs.below(f"models/{suffix}")
    name = case.random.choice(list(files))
    how = mutations.mutate_bytes if suffix == "bin" else mutations.mutate_text
    files[name] = case.damage(files[name], how)
    if not case.intact and case.random.random() < 0.03:
        del files[name]
    size = case.write({f"model/{name}": content for name, content in files.items()})
    texts = case.inputs.below("texts")
    case.write({"poses.txt": texts["poses.txt"], "place.devmap": case.inputs.files["place.devmap"]})
    folder = case.folder / "model"
    runs: list[list[str] | Callable[[], object]] = [
        lambda: (read_model(folder), posed_images(folder)),
        ["evaluate", "--poses", "poses.txt", "--model", "model", "--table"],
        ["evaluate", "--poses", "poses.txt", "--model", "model", "--align", "sim3", "--json"],
        ["map", "align", "place.devmap", "--model", "model", "--output", "out/new.devmap"],
    ]
    run = case.random.choice(runs)
    return Action(run, allowance(size), {"new.devmap": Map.load})
