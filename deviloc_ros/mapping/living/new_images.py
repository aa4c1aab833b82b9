"""Images that are to be added to a map: their cameras, and where they are in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.camera import Camera
from deviloc_ros.images import image_size, read_gray
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.query import refuse
from deviloc_ros.localization.types import Features, Query
from deviloc_ros.mapping.living.registration import Registered, register
from deviloc_ros.mapping.living.registration_store import load_registered, save_registered
from deviloc_ros.mapping.workspace import Workspace
from deviloc_ros.maps.map import Map


def fitted_cameras(
    images: Path, cameras: Mapping[str, Camera]
) -> tuple[dict[str, Camera], dict[str, str]]:
    """Return cameras scaled to the size of their images, and which images do not fit theirs."""
    fitted: dict[str, Camera] = {}
    unfit: dict[str, str] = {}
    for name, camera in cameras.items():
        try:
            fitted[name] = camera.fitted_to(*image_size(images / name))
        except InputError as error:
            unfit[name] = str(error).removeprefix(f"{images / name}: ")
    return fitted, unfit


def register_all(
    old: Map,
    images: Path,
    cameras: Mapping[str, Camera],
    features: Mapping[str, Features],
    config: LocalizerConfig,
    workspace: Workspace,
) -> tuple[dict[str, Registered], dict[str, str]]:
    """Localize images in a map; those that were localized before are taken from the workspace.

    Args:
        old: the map.
        images: folder of the images.
        cameras: by name, of their sizes.
        features: of those that can be read.
        config: the localizer's.
        workspace: keeps each result.

    Returns:
        How images were localized, and why others were not.
    """
    localizer = Localizer(old, config)
    registered: dict[str, Registered] = {}
    reasons: dict[str, str] = {}
    for name in tqdm(sorted(features), desc="localizing", unit="image", disable=None):
        path = workspace.path_for("localized", name, ".safetensors")
        result = load_registered(path)
        if result is None:
            image = read_gray(images / name)
            wrong = refuse(image, cameras[name])
            if wrong is not None:
                result = f"cannot be localized in the map: {wrong.details}"
            else:
                result = register(localizer, Query(features[name], cameras[name], image))
            save_registered(path, result)
        if isinstance(result, Registered):
            registered[name] = result
        else:
            reasons[name] = result
    return registered, reasons
