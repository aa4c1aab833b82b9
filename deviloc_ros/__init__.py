"""Visual localization of robots against a prior map: DeViLoc (CVPR 2024) for ROS 2.

The names below are loaded when they are first used, so that `import deviloc_ros` stays quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deviloc_ros.config import LocalizerConfig
    from deviloc_ros.errors import InputError
    from deviloc_ros.geometry.camera import Camera
    from deviloc_ros.geometry.transform import Transform
    from deviloc_ros.images import read_gray
    from deviloc_ros.localization.localizer import Localizer
    from deviloc_ros.localization.rig.types import RigEstimate
    from deviloc_ros.localization.types import (
        FailureReason,
        LocalizationFailure,
        PoseEstimate,
        PosePrior,
    )
    from deviloc_ros.maps.map import Map

__version__ = "0.1.0"
__all__ = [
    "Camera",
    "FailureReason",
    "InputError",
    "LocalizationFailure",
    "Localizer",
    "LocalizerConfig",
    "Map",
    "PoseEstimate",
    "PosePrior",
    "RigEstimate",
    "Transform",
    "read_gray",
]

_HOMES = {
    "Camera": "geometry.camera",
    "FailureReason": "localization.types",
    "InputError": "errors",
    "LocalizationFailure": "localization.types",
    "Localizer": "localization.localizer",
    "LocalizerConfig": "config",
    "Map": "maps.map",
    "PoseEstimate": "localization.types",
    "PosePrior": "localization.types",
    "RigEstimate": "localization.rig.types",
    "Transform": "geometry.transform",
    "read_gray": "images",
}


def __getattr__(name: str) -> Any:
    """Load a public name's module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Name what can be imported from here."""
    return sorted({*globals(), *__all__})
