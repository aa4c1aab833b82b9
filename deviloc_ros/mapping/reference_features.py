"""Features of a map's images, as if they were queries."""

from __future__ import annotations

import numpy as np
import torch

from deviloc_ros.config import LocalizerConfig
from deviloc_ros.localization.features import network_sizes
from deviloc_ros.localization.types import Features
from deviloc_ros.maps.map import Map


def reference_features(
    reference_map: Map, index: int, config: LocalizerConfig, device: torch.device
) -> Features:
    """Return a reference's stored features, as if it were a query."""
    stored = reference_map.features_of(index)
    camera = reference_map.references[index].camera
    sizes = network_sizes(camera.width, camera.height, config.features.max_size)
    scales = torch.tensor(
        [(camera.width / width + camera.height / height) / 2 for width, height in sizes]
    )
    levels = torch.from_numpy(np.array(reference_map.levels[stored]))
    return Features(
        keypoints=torch.from_numpy(np.array(reference_map.keypoints[stored])).to(device),
        descriptors=torch.from_numpy(np.array(reference_map.descriptors[stored]))
        .to(device)
        .float(),
        scales=scales[levels.long()].to(device),
        levels=levels.to(device),
    )
