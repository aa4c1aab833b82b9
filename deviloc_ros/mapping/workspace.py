"""The folder beside a map in the making: what it holds need not be computed again."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import torch
from safetensors.torch import load_file, save_file

from deviloc_ros import __version__
from deviloc_ros.atomic import atomic_path, check_writable
from deviloc_ros.cluster.workers import THIS_PROCESS, Workers
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
        self, names: Sequence[str], config: LocalizerConfig, workers: Workers = THIS_PROCESS
    ) -> tuple[dict[str, Features], dict[str, str]]:
        """Describe every image that can be read.

        Args:
            names: the images.
            config: the localizer's configuration.
            workers: who describes them.

        Returns:
            The features of each image, and why the others have none.
        """
        paths = {name: self.path_for("features", name, ".safetensors") for name in names}
        missing = [name for name in names if not paths[name].exists()]
        refused: dict[str, str] = {}
        describe = DescribeImages(self._images.resolve(), config)
        found = workers.map(describe, missing, "dense features")
        for name, stored in zip(missing, found, strict=True):
            if isinstance(stored, str):
                refused[name] = stored
                continue
            with atomic_path(paths[name]) as temporary:
                save_file(stored, temporary)
        features: dict[str, Features] = {}
        for name in names:
            if name not in refused:
                loaded = load_file(paths[name])
                loaded["descriptors"] = loaded["descriptors"].float()
                features[name] = Features(**loaded)
        return features, refused


@dataclass(frozen=True)
class DescribeImages:
    """Makes what describes images of a folder by name: stored features, or why there are none."""

    images: Path
    config: LocalizerConfig

    def __call__(self) -> Callable[[str], dict[str, torch.Tensor] | str]:
        """Load the network."""
        extractor = backend_of(self.config).extractor()

        def describe(name: str) -> dict[str, torch.Tensor] | str:
            try:
                image = read_gray(self.images / name)
            except InputError as error:
                return str(error).removeprefix(f"{self.images / name}: ")
            (found,) = extractor.extract([image])
            return _stored(found)

        return describe


def _stored(features: Features) -> dict[str, torch.Tensor]:
    """Return what is written of an image's features: descriptors at the map's precision."""
    return {
        "keypoints": features.keypoints.cpu(),
        "descriptors": features.descriptors.cpu().half(),
        "scales": features.scales.cpu(),
        "levels": features.levels.cpu(),
    }
