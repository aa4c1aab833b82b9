"""Networks in OpenVINO's format, kept on disk: to convert them takes seconds at every start.

A file holds a checksum, the length of the model's description, the description (XML) and its
weights. What is missing, damaged or cannot be written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError

LOGGER = logging.getLogger(__name__)

KEPT_FILES = 16
SUFFIX = ".network"
DIGEST_BYTES, LENGTH_BYTES = 32, 8
PACKAGE = __name__.partition(".")[0]


@dataclass(frozen=True)
class NetworkKey:
    """What names a network.

    Attributes:
        digest: of its structure, settings, weights and inputs.
        program: versions of what converts it and of its code; None: that cannot be told, the digest
            holds for this process alone, or the network is none of this package's.
    """

    digest: str
    program: str | None


def network_key(module: nn.Module, examples: Sequence[Tensor]) -> NetworkKey:
    """Name a module with examples of its inputs.

    What has no value of its own to show is named by its address: then nothing is shared.
    """
    digest = hashlib.sha256()
    lasting = True

    def add(name: str, value: object) -> None:
        nonlocal lasting
        if isinstance(value, Tensor):
            digest.update(repr((name, value.dtype, tuple(value.shape))).encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        else:
            shown = repr((name, value))
            lasting = lasting and " at 0x" not in shown
            digest.update(shown.encode())

    packages = {"torch", "openvino"}
    for path, part in module.named_modules():
        add(path, type(part))
        packages.add(type(part).__module__.partition(".")[0])
        for name, value in vars(part).items():
            if name in ("_parameters", "_buffers"):
                for key, tensor in value.items():
                    add(key, tensor)
            elif name != "_modules":
                add(name, value)
    for example in examples:
        add("example", (example.dtype, tuple(example.shape)))
    versions = [_version(package) for package in sorted(packages)]
    known = [version for version in versions if version is not None]
    ours = PACKAGE in packages
    program = "\n".join(known) if ours and lasting and len(known) == len(versions) else None
    return NetworkKey(digest.hexdigest(), program)


@cache
def _version(package: str) -> str | None:
    """Return a package's name and version; of this one, what its networks' code is."""
    if package == PACKAGE:
        digest = hashlib.sha256()
        for path in sorted(Path(__file__).parent.rglob("*.py")):
            digest.update(path.read_bytes())
        return f"{package} {digest.hexdigest()}"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def networks_directory() -> Path:
    """Return where networks are kept: $XDG_CACHE_HOME/deviloc_ros/networks."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / PACKAGE / "networks"


def kept(key: NetworkKey, core: Any) -> Any | None:
    """Return a network that was kept, or None.

    Args:
        key: names it.
        core: OpenVINO's.
    """
    if key.program is None:
        return None
    path = _path(key)
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    with contextlib.suppress(OSError):  # on a disk that cannot be written
        os.utime(path)
    rest = content[DIGEST_BYTES:]
    if hashlib.sha256(rest).digest() != content[:DIGEST_BYTES]:
        LOGGER.warning("%s: is damaged, and made anew", path)
        return None
    start = LENGTH_BYTES + int.from_bytes(rest[:LENGTH_BYTES], "little")
    weights = torch.frombuffer(bytearray(rest[start:]), dtype=torch.uint8).numpy()
    import openvino

    return core.read_model(bytes(rest[LENGTH_BYTES:start]), openvino.Tensor(weights))


def keep(key: NetworkKey, model: Any, core: Any) -> Any:
    """Keep a network for the next start, and return it as that will read it.

    Args:
        key: names it.
        model: in OpenVINO's format.
        core: OpenVINO's.
    """
    if key.program is None:
        return model
    import openvino

    path = _path(key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            description = Path(folder) / "model.xml"
            openvino.save_model(model, description, compress_to_fp16=False)
            text, weights = description.read_bytes(), (Path(folder) / "model.bin").read_bytes()
        content = len(text).to_bytes(LENGTH_BYTES, "little") + text + weights
        with atomic_path(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
        files = sorted(path.parent.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)
        for old in files[:-KEPT_FILES]:
            old.unlink(missing_ok=True)
    except (OSError, InputError) as error:
        LOGGER.info("networks are converted again at the next start: %s", error)
        return model
    return kept(key, core) or model


def _path(key: NetworkKey) -> Path:
    name = hashlib.sha256(f"{key.digest}\n{key.program}".encode()).hexdigest()
    return networks_directory() / f"{name}{SUFFIX}"
