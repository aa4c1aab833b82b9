"""How an image was localized, kept in a file so that an interrupted run need not do it again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from deviloc_ros.atomic import atomic_path
from deviloc_ros.geometry.transform import Transform
from deviloc_ros.mapping.living.registration import Registered


def save_registered(path: Path, result: Registered | str) -> None:
    """Write the result for one image."""
    with atomic_path(path) as temporary:
        if isinstance(result, str):
            save_file({"none": np.zeros(1)}, temporary, metadata={"reason": result})
            return
        save_file(
            {
                "pose": result.camera_from_map.matrix,
                "covariance": np.ascontiguousarray(result.position_covariance),
                "references": result.references,
                "points": result.points,
                "pixels": result.pixels,
            },
            temporary,
        )


def load_registered(path: Path) -> Registered | str | None:
    """Read what `save_registered` wrote; None: there is no such file."""
    if not path.exists():
        return None
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        if "reason" in metadata:
            return str(metadata["reason"])
        return Registered(
            Transform.from_matrix(file.get_tensor("pose")),
            file.get_tensor("covariance"),
            file.get_tensor("references"),
            file.get_tensor("points"),
            file.get_tensor("pixels"),
        )
