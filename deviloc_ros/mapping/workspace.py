"""The folder beside a map in the making: what it holds need not be computed again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from deviloc_ros import __version__
from deviloc_ros.atomic import atomic_path
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.datasets.colmap import PosedImage
from deviloc_ros.errors import InputError
from deviloc_ros.images import read_gray
from deviloc_ros.localization.features import FeatureExtractor
from deviloc_ros.localization.types import Features


class Workspace:
    """`OUTPUT.build`: dense features, COLMAP's database and models of an unfinished build."""

    def __init__(self, output: Path, images: Path, inputs: object) -> None:
        """Open the folder; one that an earlier build of the same inputs left is kept.

        Args:
            output: the map to be written.
            images: folder of the images.
            inputs: everything else the build depends on; anything with a telling `repr`.

        Raises:
            InputError: the map could not be written there.
        """
        if output.is_dir() or not output.parent.is_dir():
            raise InputError(f"{output}: cannot be written; give a file in a folder that exists")
        self._images = images
        self.folder = output.with_name(output.name + ".build")
        intent = json.dumps([str(images.resolve()), repr(inputs), __version__])
        fingerprint = hashlib.sha256(intent.encode()).hexdigest()
        stamp = self.folder / "fingerprint"
        if self.folder.exists() and (not stamp.exists() or stamp.read_text() != fingerprint):
            shutil.rmtree(self.folder)
        try:
            self.folder.mkdir(exist_ok=True)
            stamp.write_text(fingerprint)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror})") from None

    def remove(self) -> None:
        """Delete the folder: the map is written."""
        shutil.rmtree(self.folder)

    def features(
        self, names: Sequence[str], posed: Mapping[str, PosedImage], config: LocalizerConfig
    ) -> tuple[dict[str, Features], dict[str, str]]:
        """Describe every image that can be read.

        Args:
            names: the images.
            posed: those whose camera is given; their size must be the camera's.
            config: the localizer's configuration.

        Returns:
            The features of each image, and why the others have none.
        """
        folder = self.folder / "features"
        folder.mkdir(exist_ok=True)
        extractor = FeatureExtractor(config)
        features: dict[str, Features] = {}
        refused: dict[str, str] = {}
        for name in tqdm(names, desc="dense features", unit="image", disable=None):
            source = self._images / name
            state = f"{name} {source.stat().st_size} {source.stat().st_mtime_ns}"
            path = folder / f"{hashlib.sha256(state.encode()).hexdigest()[:24]}.safetensors"
            if not path.exists():
                try:
                    image = read_gray(source)
                except InputError as error:
                    refused[name] = str(error).removeprefix(f"{source}: ")
                    continue
                height, width = image.shape
                if name in posed and (width, height) != (
                    posed[name].camera.width,
                    posed[name].camera.height,
                ):
                    camera = posed[name].camera
                    refused[name] = (
                        f"is {width} x {height} pixels, its camera {camera.width} x {camera.height}"
                    )
                    continue
                (found,) = extractor.extract([image])
                with atomic_path(path) as temporary:
                    save_file(_stored(found), temporary)
            loaded = load_file(path)
            loaded["descriptors"] = loaded["descriptors"].float()
            features[name] = Features(**loaded)
        return features, refused


def _stored(features: Features) -> dict[str, torch.Tensor]:
    """Return what is written of an image's features: descriptors at the map's precision."""
    return {
        "keypoints": features.keypoints.cpu(),
        "descriptors": features.descriptors.cpu().half(),
        "scales": features.scales.cpu(),
        "levels": features.levels.cpu(),
    }
