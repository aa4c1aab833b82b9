"""Images of one map, localized in another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.localizer import Localizer
from deviloc_ros.localization.types import Query
from deviloc_ros.mapping.living.registration import Registered, register
from deviloc_ros.mapping.living.registration_store import load_registered, save_registered
from deviloc_ros.mapping.multiview.matching import reference_features
from deviloc_ros.mapping.self_calibration import spread
from deviloc_ros.maps.map import Map

# So many images of a map are tried in the other one.
MAX_TRIED = 400
# Images that see the other map from afar are localized, and tell little; they err all to one side,
# by more than their sigma says, as the depths do that they rest on. So the frame rests on images
# whose sigma is at most so many times that of the best quarter.
MAX_SIGMA_RATIO = 2.0

KeyT = TypeVar("KeyT", int, str)


def localize_images(
    images: Map,
    reference_map: Map,
    config: LocalizerConfig,
    folder: Path,
    what: str,
    among: NDArray[np.int64] | None = None,
) -> dict[int, Registered]:
    """Localize images of one map in another one; those that fail are left out.

    Args:
        images: their map.
        reference_map: the other one.
        config: of the localizer.
        folder: keeps each result, so that an interrupted run need not do it again.
        what: names this for the bar.
        among: indices of the images to try, evenly, as far as MAX_TRIED; None: all of the map.
    """
    folder.mkdir(parents=True, exist_ok=True)
    among = np.arange(len(images.references)) if among is None else among
    localizer: Localizer | None = None
    found: dict[int, Registered] = {}
    for index in tqdm(among[spread(len(among), MAX_TRIED)], desc=what, unit="image", disable=None):
        path = folder / f"{index:06d}.safetensors"
        result = load_registered(path)
        if result is None:
            localizer = localizer or Localizer(reference_map, config)
            features = reference_features(images, int(index), config, localizer.device)
            camera, image = images.references[index].camera, images.image_of(int(index))
            result = register(localizer, Query(features, camera, image))
            save_registered(path, result)
        if isinstance(result, Registered):
            found[int(index)] = result
    return found


def certain(found: Mapping[KeyT, Registered], least: int) -> dict[KeyT, Registered]:
    """Return the images whose positions are known well, beside the best of them.

    Args:
        found: localized images.
        least: so many are kept in any case, the best ones.
    """
    if not found:
        return {}
    sigmas = {i: item.position_sigma for i, item in found.items()}
    ordered = sorted(found, key=sigmas.__getitem__)
    limit = MAX_SIGMA_RATIO * sigmas[ordered[(len(ordered) - 1) // 4]]
    kept = {i for place, i in enumerate(ordered) if place < least or sigmas[i] <= limit}
    return {i: item for i, item in found.items() if i in kept}
