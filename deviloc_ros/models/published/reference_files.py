"""Encoded references, kept on the device and on disk.

On the device the least recently used leave first, bounded by bytes. Reading 100 MB from disk costs
less than the backbone on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path

import torch
from cachetools import LRUCache
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from deviloc_ros.atomic import atomic_path
from deviloc_ros.models.published.deviloc import DeViLocNetwork
from deviloc_ros.models.published.pin import ObservedBranch
from deviloc_ros.models.published.pin_geometry import ReferenceCamera
from deviloc_ros.models.published.reference import EncodedReference
from deviloc_ros.models.topicfm.image_features import ImageFeatures, TokenMean


class ReferenceCache:
    """Keeps encoded references between queries; for one thread.

    A reference of 864 x 864 takes 107 MB and 7 kB for each observed point, half of the former in
    half precision. The caller's own query and the references of the running match are not counted.
    """

    def __init__(self, max_bytes: int) -> None:
        """Make an empty cache that never holds more than `max_bytes`; 0 keeps nothing."""
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, got {max_bytes}")
        self._entries: LRUCache[Hashable, EncodedReference]
        self._entries = LRUCache(max_bytes, getsizeof=lambda reference: reference.num_bytes)

    def __len__(self) -> int:
        """Return the number of references held."""
        return len(self._entries)

    @property
    def num_bytes(self) -> int:
        """Memory of the references held."""
        return int(self._entries.currsize)

    def get(self, key: Hashable, encode: Callable[[], EncodedReference]) -> EncodedReference:
        """Return the reference of a key, encoding it where it is not held.

        Args:
            key: names the image and its network size, which follows the query's.
            encode: makes the reference.
        """
        reference = self._entries.get(key)
        if reference is None:
            reference = encode()
            if reference.num_bytes <= self._entries.maxsize:
                self._entries[key] = reference
        return reference


_FORMAT = 2
_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
# What a file holds besides its tensors, at most: names, shapes and the key.
_HEADER_BYTES = 8192


class ReferenceFiles:
    """A folder of encoded references, least recently used out first, bounded by bytes.

    Files are whole or absent, and made for one set of weights: what another set made is not found,
    but counts. Files with other names are left alone.
    """

    def __init__(self, folder: Path, fingerprint: str, max_bytes: int) -> None:
        """Use an existing folder.

        Args:
            folder: where files lie.
            max_bytes: size of all files of this kind in the folder, at most. Several processes
                may share the folder: it exceeds its bound by what they write at the same time.
            fingerprint: says what the encoding depends on besides the image: `fingerprint` of the
                network, with behaviour and precision.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._fingerprint = fingerprint

    def load(self, key: str, device: torch.device) -> EncodedReference | None:
        """Return the reference of a key, None where it was not saved or cannot be read."""
        path = self._path(key)
        try:
            with safe_open(path, "pt", device=str(device)) as file:
                header = json.loads((file.metadata() or {}).get("header", "{}"))
                if header.get("format") != _FORMAT or header.get("key") != key:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError):
            return None
        # The time of use is kept as that of the change: many file systems don't record reading.
        with suppress(OSError):
            os.utime(path)
        return _unpack(tensors, tuple(header["grid"]))

    def save(self, key: str, reference: EncodedReference) -> None:
        """Keep a reference under a key and make room for it; one above the bound is not kept.

        Raises:
            InputError: the folder cannot be written to.
        """
        header = {"format": _FORMAT, "key": key, "grid": reference.features.grid}
        tensors = _pack(reference)
        size = sum(tensor.nbytes for tensor in tensors.values()) + _HEADER_BYTES
        if size > self._max_bytes:
            return
        self._shrink(self._max_bytes - size)
        with atomic_path(self._path(key)) as temporary:
            save_file(tensors, temporary, {"header": json.dumps(header)})

    def _shrink(self, max_bytes: int) -> None:
        """Delete files until the rest is within a bound."""
        files = []
        for path in self._folder.glob("*.safetensors"):
            if _NAME.fullmatch(path.name):
                with suppress(FileNotFoundError):  # another process was faster
                    status = path.stat()
                    files.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= max_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{self._fingerprint}\0{key}".encode()).hexdigest()
        return self._folder / f"{name[:32]}.safetensors"


def fingerprint(network: DeViLocNetwork, *dependencies: str) -> str:
    """Return a digest of all weights and of whatever else an encoding depends on."""
    digest = hashlib.sha256("\0".join(dependencies).encode())
    for key, value in sorted(network.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _pack(reference: EncodedReference) -> dict[str, Tensor]:
    features, camera, observed = reference.features, reference.camera, reference.observed
    tensors = {
        "coarse": features.coarse,
        "fine": features.fine.permute(1, 2, 0),
        "scale": features.scale,
        "gathered_mean": features.gathered.mean,
        "gathered_log_sum": features.gathered.log_sum,
        "observations": reference.observations,
        "points": reference.points,
        "intrinsics": camera.intrinsics,
        "camera_from_map": camera.camera_from_map,
    }
    if camera.distortion is not None:
        tensors["distortion"] = camera.distortion
    if observed is not None:
        tensors["min_depth"], tensors["depth_range"] = observed.min_depth, observed.depth_range
        for layer, (keys, values) in enumerate((observed.propagation, *observed.inference)):
            tensors[f"keys{layer}"], tensors[f"values{layer}"] = keys, values
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _unpack(tensors: dict[str, Tensor], grid: tuple[int, int]) -> EncodedReference:
    features = ImageFeatures(
        tensors["coarse"],
        TokenMean(tensors["gathered_mean"], tensors["gathered_log_sum"]),
        grid,
        tensors["fine"].permute(2, 0, 1),
        tensors["scale"],
    )
    camera = ReferenceCamera(
        tensors["intrinsics"], tensors["camera_from_map"], tensors.get("distortion")
    )
    observed = None
    if "min_depth" in tensors:
        count = sum(name.startswith("keys") for name in tensors)
        layers = [(tensors[f"keys{n}"], tensors[f"values{n}"]) for n in range(count)]
        observed = ObservedBranch(
            tensors["min_depth"], tensors["depth_range"], layers[0], tuple(layers[1:])
        )
    return EncodedReference(features, tensors["observations"], tensors["points"], camera, observed)
