"""The text files beside images that were taken out of a bag.

camera.txt     the camera, as `deviloc map build --camera` takes it; not of a rig
rig.json       cameras of a rig: `camera` as above, `camera_from_rig` qw qx qy qz tx ty tz
poses.txt      `name qw qx qy qz tx ty tz`, odometry frame to camera, where it is known
positions.txt  `name x y z` in the odometry frame, where it is known
fixes.txt      fixes of a satellite receiver, as datasets/fixes.py describes them
choice.json    how many images there were, and why others were not taken
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deviloc_ros.atomic import atomic_path
from deviloc_ros.bags.extraction.fixes import line_of
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.geometry.mounted_camera import MountedCamera
from deviloc_ros.geometry.transform import Transform

if TYPE_CHECKING:
    from deviloc_ros.bags.extraction.extract import Extraction

MOST_LEFT_OUT = 20


def write_texts(folder: Path, found: Extraction) -> None:
    """Write the files; those that have nothing to hold are removed."""
    files: dict[str, list[str]] = {
        "camera.txt": [] if found.rig else [str(found.camera)],
        "rig.json": [json.dumps(_rig(found.rig), indent=1)] if found.rig else [],
        "poses.txt": [f"{name} {_pose(item.inverse())}" for name, item in found.poses.items()],
        "positions.txt": [
            " ".join([name, *(repr(float(value)) for value in position)])
            for name, position in found.positions.items()
        ],
        "fixes.txt": [line_of(fix) for fix in found.fixes],
        "choice.json": [json.dumps(_choice(found), indent=1)],
    }
    for name, lines in files.items():
        if not lines:
            (folder / name).unlink(missing_ok=True)
            continue
        with atomic_path(folder / name) as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_rig(path: Path) -> dict[str, MountedCamera]:
    """Read rig.json, as `write_texts` has written it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: MountedCamera(
            Camera.parse(item["camera"]),
            Transform.from_quaternion(item["camera_from_rig"][:4], item["camera_from_rig"][4:]),
        )
        for name, item in content.items()
    }


def _rig(rig: Mapping[str, MountedCamera]) -> dict[str, Any]:
    return {
        name: {
            "camera": str(item.camera),
            "camera_from_rig": [
                *item.camera_from_rig.quaternion_wxyz.tolist(),
                *item.camera_from_rig.translation.tolist(),
            ],
        }
        for name, item in rig.items()
    }


def _choice(found: Extraction) -> dict[str, Any]:
    return {
        "images": found.total,
        "taken": len(found.chosen),
        "passed": dict(found.passed),
        "unusable": len(found.left_out),
        "unusable_first": [str(item) for item in found.left_out[:MOST_LEFT_OUT]],
        "overlap": {name: round(item.overlap, 4) for name, item in found.chosen.items()},
        "blurred": [name for name, item in found.chosen.items() if item.blurred],
        "damage": found.damage,
    }


def _pose(camera_from_odom: Transform) -> str:
    """Return a pose as pose files have it: world to camera, quaternion with w first."""
    values = (*camera_from_odom.quaternion_wxyz, *camera_from_odom.translation)
    return " ".join(repr(float(value)) for value in values)
