"""What a map is to be made of: which images, with which poses and cameras, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from deviloc_ros.datasets.colmap import PosedImage, posed_images
from deviloc_ros.datasets.image_folder import list_images
from deviloc_ros.errors import InputError
from deviloc_ros.images import image_size
from deviloc_ros.mapping.sfm.intrinsics import Intrinsics
from deviloc_ros.models.published.preprocessing import check_models
from deviloc_ros.models.weight_store import load_network


def wanted_images(images: Path, names: Sequence[str] | None) -> Sequence[str]:
    """Return the images of the folder that are to be in the map."""
    if names is None:
        return list_images(images)
    present = [name for name in names if (images / name).is_file()]
    if not present:
        raise InputError(f"{images}: holds none of {len(names)} images, such as {names[0]}")
    return present


def given_poses(
    images: Path, model: Path, names: Sequence[str]
) -> tuple[dict[str, PosedImage], dict[str, str]]:
    """Return the images that have both a file and a pose, and what is wrong with the others."""
    given = posed_images(model)
    present = set(names)
    posed = {image.name: image for image in given if image.name in present}
    if not posed:
        raise InputError(
            f"{model}: none of its {len(given)} images is in {images} "
            f"(the model names {given[0].name!r}, the folder holds {names[0]!r})"
        )
    wrong = {name: "has no pose in the given model" for name in names if name not in posed}
    missing = {
        image.name: "has a pose in the given model, but there is no such image"
        for image in given
        if image.name not in present
    }
    return posed, wrong | missing


def sizes_that_fit(
    images: Path,
    names: Sequence[str],
    posed: Mapping[str, PosedImage],
    intrinsics: Intrinsics,
) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return width and height of the images that fit their camera, and what is wrong with others.

    Args:
        images: their folder.
        names: of all.
        posed: those whose camera is given with their pose; it must be of their size.
        intrinsics: what is known of the others' cameras.
    """
    sizes: dict[str, tuple[int, int]] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            size = image_size(images / name)
            if name in posed:
                camera = posed[name].camera
                if size != (camera.width, camera.height):
                    raise InputError(
                        f"is {size[0]} x {size[1]} pixels, its camera {camera.width} x "
                        f"{camera.height}"
                    )
            elif intrinsics.are_known:
                intrinsics.known_for(name, *size)
        except InputError as error:
            refused[name] = str(error).removeprefix(f"{images / name}: ")
        else:
            sizes[name] = size
    return sizes, refused


def check_topicfm(posed: Mapping[str, PosedImage], intrinsics: Intrinsics) -> None:
    """Refuse missing weights and unknown cameras before hours of work rather than after."""
    load_network()
    if posed:
        check_models((name, image.camera.model) for name, image in posed.items())
    elif intrinsics.are_known:
        check_models(("--camera", camera.model) for camera in intrinsics.known_cameras)
    else:
        check_models([("--camera-model", intrinsics.first_model)])
