"""The folder beside a map in the making: what it holds need not be computed again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from deviloc_ros import __version__
from deviloc_ros.atomic import atomic_path, check_writable
from deviloc_ros.config import LocalizerConfig
from deviloc_ros.errors import InputError
from deviloc_ros.images import read_gray
from deviloc_ros.localization.backend import backend_of
from deviloc_ros.localization.types import Features
from deviloc_ros.lock import LOCK, OWNER, sole_user


class Workspace:
    """`OUTPUT.build`: dense features, COLMAP's database and models of an unfinished build.

    Use it as a context manager: no other process can use the folder meanwhile.
    """

    def __init__(self, output: Path, images: Path, inputs: object) -> None:
        """Open the folder; one that an earlier build of the same inputs left is kept.

        Args:
            output: the map to be written.
            images: folder of the images.
            inputs: everything else the build depends on; anything with a telling `repr`.

        Raises:
            InputError: the map could not be written there.
        """
        place = check_writable(output)
        self._images = images
        self._temporary = place is None  # a pipe or device is not the place for a folder
        self.folder = (
            Path(tempfile.mkdtemp(prefix="deviloc-build-"))
            if place is None
            else place.with_name(place.name + ".build")
        )
        intent = json.dumps([str(images.resolve()), repr(inputs), __version__])
        self._fingerprint = hashlib.sha256(intent.encode()).hexdigest()
        self._use = ExitStack()

    def __enter__(self) -> Workspace:
        """Lock the folder, and empty it unless the same build left it.

        Raises:
            InputError: another process builds the same map.
        """
        with ExitStack() as stack:
            stack.enter_context(sole_user(self.folder))
            stamp = self.folder / "fingerprint"
            if not stamp.exists() or stamp.read_text() != self._fingerprint:
                for path in self.folder.iterdir():
                    if path.is_dir() and not path.is_symlink():
                        shutil.rmtree(path)
                    elif path.name not in (LOCK, OWNER):
                        path.unlink()
                stamp.write_text(self._fingerprint)
            self._use = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let others use the folder."""
        self._use.close()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def remove(self) -> None:
        """Delete the folder: the map is written."""
        shutil.rmtree(self.folder, ignore_errors=self._temporary)

    def path_for(self, kind: str, name: str, suffix: str) -> Path:
        """Return the file for what was computed of an image; a changed image has another one.

        Args:
            kind: of what was computed; the name of a folder, which is made.
            name: of the image.
            suffix: of the file.
        """
        folder = self.folder / kind
        folder.mkdir(exist_ok=True)
        source = (self._images / name).stat()
        state = f"{name} {source.st_size} {source.st_mtime_ns}"
        digest = hashlib.sha256(os.fsencode(state)).hexdigest()
        return folder / f"{digest[:24]}{suffix}"

    def features(
        self, names: Sequence[str], config: LocalizerConfig
    ) -> tuple[dict[str, Features], dict[str, str]]:
        """Describe every image that can be read.

        Args:
            names: the images.
            config: the localizer's configuration.

        Returns:
            The features of each image, and why the others have none.
        """
        extractor = backend_of(config).extractor()
        features: dict[str, Features] = {}
        refused: dict[str, str] = {}
        for name in tqdm(names, desc="dense features", unit="image", disable=None):
            source = self._images / name
            path = self.path_for("features", name, ".safetensors")
            if not path.exists():
                try:
                    image = read_gray(source)
                except InputError as error:
                    refused[name] = str(error).removeprefix(f"{source}: ")
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
