"""Imported weights in the user's data directory: safetensors files with checksums."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.models.checkpoint import KINDS, Checkpoint
from deviloc_ros.models.published.deviloc import DeViLocNetwork

_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class StoredWeights:
    """One imported file.

    Attributes:
        name: "deviloc" or "topicfm_fast".
        path: the safetensors file.
        sha256: of the file, as recorded beside it at import.
        source: name of the file it was imported from.
        published: whether that was, bit for bit, the authors' file.
    """

    name: str
    path: Path
    sha256: str
    source: str
    published: bool


def weights_directory() -> Path:
    """Return where weights are kept: $XDG_DATA_HOME/deviloc_ros/weights."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "deviloc_ros" / "weights"


def store(checkpoint: Checkpoint, source: str) -> StoredWeights:
    """Convert a checkpoint to safetensors with a checksum beside it; replaces an earlier import.

    Raises:
        InputError: the data directory cannot be written to.
    """
    directory = weights_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory}: cannot be made ({error.strerror})") from error
    path = directory / f"{checkpoint.kind.name}{_SUFFIX}"
    metadata = {
        "source": source,
        "source_sha256": checkpoint.sha256,
        "source_git_blob": checkpoint.git_blob,
        "published": str(checkpoint.is_published).lower(),
    }
    # Without its checksum a file is not used: should only one of the two renames happen, loading
    # says so instead of running with a mixture.
    with atomic_path(path) as temporary:
        save_file(dict(checkpoint.state), temporary, metadata)
        digest = _sha256(temporary)
    with atomic_path(_checksum_path(path)) as temporary:
        temporary.write_text(f"{digest}  {path.name}\n", encoding="ascii")
    return _describe(path)


def stored_weights() -> list[StoredWeights]:
    """Return what has been imported.

    Raises:
        InputError: a file there is damaged.
    """
    paths = (weights_directory() / f"{kind.name}{_SUFFIX}" for kind in KINDS)
    return [_describe(path) for path in paths if path.is_file()]


def load_network() -> DeViLocNetwork:
    """Return the network with the imported weights of `deviloc_weights.ckpt`.

    That file holds both networks; the matcher in it is the one its PIN was trained behind.

    Raises:
        InputError: nothing was imported, or the stored file is damaged.
    """
    path = weights_directory() / f"deviloc{_SUFFIX}"
    if not path.is_file():
        raise InputError(
            f"{path}: no weights for matcher topicfm; download deviloc_weights.ckpt from the "
            "authors and run 'deviloc weights import deviloc_weights.ckpt', or use matcher xfeat"
        )
    stored = _describe(path)
    if _sha256(path) != stored.sha256:
        raise InputError(f"{path}: damaged, its checksum is wrong; import the checkpoint again")
    network = DeViLocNetwork()
    try:
        network.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path}: not these weights ({str(error).splitlines()[0]})") from None
    return network


def is_intact(stored: StoredWeights) -> bool:
    """Return whether the file still has the checksum of its import."""
    return _sha256(stored.path) == stored.sha256


def _describe(path: Path) -> StoredWeights:
    try:
        digest = _checksum_path(path).read_text(encoding="ascii").split()[0]
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError, IndexError, UnicodeDecodeError):
        raise InputError(
            f"{path}: damaged or without its checksum; import the checkpoint again"
        ) from None
    return StoredWeights(
        path.stem,
        path,
        digest,
        metadata.get("source", "unknown"),
        metadata.get("published") == "true",
    )


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
