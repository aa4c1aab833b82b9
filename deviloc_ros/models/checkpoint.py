"""Reading the published checkpoints without trusting them."""

from __future__ import annotations

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from deviloc_ros.errors import InputError
from deviloc_ros.models.published.deviloc import DeViLocNetwork
from deviloc_ros.models.topicfm.matcher import TopicFM

MAX_FILE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Kind:
    """One of the published files.

    Attributes:
        name: what its import is called.
        published_name: what the authors call the file.
        prefix: leading text of every key in the file.
        git_blob: the file's object id in the authors' git history.
    """

    name: str
    published_name: str
    prefix: str
    git_blob: str

    @property
    def shapes(self) -> Mapping[str, torch.Size]:
        """Every key, without prefix, and its shape."""
        return _shapes(self.name)


KINDS = (
    Kind("deviloc", "deviloc_weights.ckpt", "model.", "ccfba914a2ec0ec4e2af9284e1f0e2132f543607"),
    Kind(
        "topicfm_fast", "topicfm_fast.ckpt", "matcher.", "ff027e60ef291e8559674ccf3ba47ce13972652b"
    ),
)


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a published file, and what else was found.

    Attributes:
        kind: which file it is.
        state: the weights by key, without prefix, contiguous on the CPU.
        ignored: names of the file's other entries, such as a training step.
        sha256: of the file.
        git_blob: object id of the file as `git hash-object` gives it.
    """

    kind: Kind
    state: Mapping[str, Tensor]
    ignored: tuple[str, ...]
    sha256: str
    git_blob: str

    @property
    def is_published(self) -> bool:
        """Whether the file is, bit for bit, the one in the authors' repository."""
        return self.git_blob == self.kind.git_blob


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a Lightning checkpoint of DeViLoc or TopicFM-fast.

    Only tensors and plain values are read; a file that holds any other Python object is refused,
    since loading such objects runs code of the file.

    Raises:
        InputError: not such a file, or its keys, shapes, types or values are not those of the
            published network.
    """
    _check_container(path)
    try:
        with warnings.catch_warnings():  # of pickle protocols: what is wrong is told below
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise InputError(f"{path}: refused, it holds {_foreign_objects(path)}") from None
    except Exception as error:  # torch checks little of a damaged file: it raises anything
        raise InputError(f"{path}: damaged checkpoint ({_first_line(error)})") from None
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise InputError(f"{path}: has no entry 'state_dict'; expected {_expected()}")
    kind, state = _identify(path, content["state_dict"])
    sha256, git_blob = _hashes(path)
    ignored = tuple(sorted(str(key) for key in content if key != "state_dict"))
    return Checkpoint(kind, state, ignored, sha256, git_blob)


def _check_container(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {_expected()}")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise InputError(f"{path}: {size} bytes, more than the {MAX_FILE_BYTES} that are read")
    try:
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path}: not a whole torch checkpoint; expected {_expected()}")
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except InputError:
        raise
    except Exception as error:  # of zipfile too: names that are no text, sizes that are none
        raise InputError(f"{path}: damaged checkpoint ({_first_line(error)})") from None
    # torch stores without compression: an archive that grows was not written by it.
    if unpacked > size:
        raise InputError(f"{path}: would unpack to {unpacked} bytes, more than its own {size}")


def _foreign_objects(path: Path) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # the file is hostile or damaged: whatever reading it raises, it is refused
        names = []
    objects = (
        f"Python objects besides tensors ({', '.join(sorted(names)[:3])})"
        if names
        else ("something besides tensors and plain values")
    )
    return f"{objects}; save its 'state_dict' alone where you trust the file, and import that"


def _identify(path: Path, state: Mapping[Any, Any]) -> tuple[Kind, dict[str, Tensor]]:
    """Find which of the published files this is, and check every tensor of it."""
    best = min(KINDS, key=lambda kind: len(kind.shapes.keys() ^ _stripped(state, kind).keys()))
    stripped = _stripped(state, best)
    missing = sorted(best.shapes.keys() - stripped.keys())
    unknown = sorted(stripped.keys() - best.shapes.keys())
    if missing or unknown:
        raise InputError(
            f"{path}: keys differ from {best.published_name}: "
            f"{len(missing)} missing{_example(missing)}, {len(unknown)} unknown{_example(unknown)}"
        )
    checked: dict[str, Tensor] = {}
    for key, shape in best.shapes.items():
        value = stripped[key]
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            raise InputError(f"{path}: {key} is not a dense tensor")
        if value.shape != shape:
            raise InputError(
                f"{path}: {key} has shape {tuple(value.shape)}, "
                f"{best.published_name} has {tuple(shape)} (another revision of the network?)"
            )
        expected = torch.int64 if key.endswith("num_batches_tracked") else torch.float32
        if value.dtype != expected:
            raise InputError(f"{path}: {key} is {value.dtype}, must be {expected}")
        if not bool(torch.isfinite(value).all()):
            raise InputError(f"{path}: {key} holds values that are not finite")
        checked[key] = value.detach().contiguous().clone()
    return best, checked


def _stripped(state: Mapping[Any, Any], kind: Kind) -> dict[str, Any]:
    return {str(key).removeprefix(kind.prefix): value for key, value in state.items()}


def _example(keys: list[str]) -> str:
    return f" (such as {keys[0]})" if keys else ""


def _expected() -> str:
    return " or ".join(kind.published_name for kind in KINDS)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _hashes(path: Path) -> tuple[str, str]:
    sha256 = hashlib.sha256()
    blob = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            blob.update(block)
    return sha256.hexdigest(), blob.hexdigest()


@cache
def _shapes(name: str) -> Mapping[str, torch.Size]:
    with torch.device("meta"):
        module: nn.Module = DeViLocNetwork() if name == "deviloc" else TopicFM()
    return {key: value.shape for key, value in module.state_dict().items()}
