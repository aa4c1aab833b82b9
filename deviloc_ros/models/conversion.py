"""Modules in OpenVINO's form: each converted once in a process.

OpenVINO's converter never gives back the memory of a module that it was given, about four times its
weights. A robot that loads map after map, and a build of many tiles, would fill the computer.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

KEPT = 16
"""Modules that are kept; a process uses a handful."""

_lock = threading.Lock()
_converted: OrderedDict[str, Any] = OrderedDict()


def converted(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    """Return a module as an OpenVINO model; to be cloned, not changed.

    Args:
        module: in evaluation mode; takes tensors, gives a tensor or a tuple of tensors.
        examples: of its inputs, to trace it with.
    """
    key = _key(module, examples)
    with _lock:
        if key not in _converted:
            _converted[key] = _convert(module, examples)
            if len(_converted) > KEPT:
                _converted.popitem(last=False)
        _converted.move_to_end(key)
        return _converted[key]


def _convert(module: nn.Module, examples: Sequence[Tensor]) -> Any:
    # OpenVINO's converter reports its use over the network; without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    example = examples[0] if len(examples) == 1 else tuple(examples)
    with warnings.catch_warnings():  # it traces with torch.jit, which torch deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        return openvino.convert_model(module, example_input=example)


def _key(module: nn.Module, examples: Sequence[Tensor]) -> str:
    """Return what names a module's structure, settings, weights and inputs.

    What has no value of its own to show is named by its address: then nothing is shared.
    """
    digest = hashlib.sha256()

    def add(name: str, value: object) -> None:
        if isinstance(value, Tensor):
            digest.update(repr((name, value.dtype, tuple(value.shape))).encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        else:
            digest.update(repr((name, value)).encode())

    for path, part in module.named_modules():
        add(path, type(part))
        for name, value in vars(part).items():
            if name in ("_parameters", "_buffers"):
                for key, tensor in value.items():
                    add(key, tensor)
            elif name != "_modules":
                add(name, value)
    for example in examples:
        add("example", (example.dtype, tuple(example.shape)))
    return digest.hexdigest()
