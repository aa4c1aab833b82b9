"""Networks as ONNX files, for runtimes such as TensorRT.

The file does what the torch module does; what is before and behind it (reducing images, choosing
features, matching) stays to who uses it.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from deviloc_ros.atomic import atomic_path
from deviloc_ros.errors import InputError
from deviloc_ros.models.weight_store import load_network
from deviloc_ros.models.xfeat import DESCRIPTOR_SIZE, load_xfeat

# TensorRT 8.6 and later read it, so JetPack 6 does.
OPSET = 17
EXAMPLE_SIDE = 64


@dataclass(frozen=True)
class Exportable:
    """A network that can be exported.

    Attributes:
        load: makes it, with its weights, in evaluation mode.
        outputs: names of what it gives.
        multiple: what the sides of images must be multiples of; None: its input is no image, but
            pairs of descriptors.
    """

    load: Callable[[], nn.Module]
    outputs: tuple[str, ...]
    multiple: int | None


def _topicfm() -> nn.Module:
    return load_network().matcher.backbone


NETWORKS: Mapping[str, Exportable] = {
    "xfeat": Exportable(lambda: load_xfeat()[0], ("descriptors", "reliability"), 32),
    "xfeat-fine": Exportable(lambda: load_xfeat()[1], ("offset", "confidence"), None),
    "topicfm": Exportable(_topicfm, ("coarse", "fine"), 16),
}


def export(
    name: str, path: Path, batch: int | None = None, size: tuple[int, int] | None = None
) -> None:
    """Write a network as an ONNX file.

    Args:
        name: a key of NETWORKS.
        path: the file.
        batch: images, or pairs, at once; None: any number.
        size: width and height of the images; None: any multiple of what the network needs.

    Raises:
        InputError: the package onnx is not installed, the weights are missing, the network cannot
            run with images of this size, or the file cannot be written.
    """
    exported = NETWORKS[name]
    _check(name, exported, batch, size)
    if importlib.util.find_spec("onnx") is None:
        raise InputError(
            "exporting needs the package onnx; install it with pip install 'deviloc_ros[onnx]'"
        )
    network = exported.load().eval()
    network_input, example, sides = _input(exported, batch, size)
    changing = {network_input: sides}
    if batch is None:
        changing |= {output: {0: "batch"} for output in exported.outputs}
    with atomic_path(path) as temporary, warnings.catch_warnings(), torch.inference_mode():
        # torch deprecates this exporter. The other one gives the same numbers, needs more packages,
        # takes twenty times as long, and writes a newer opset.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=".*Python (boolean|integer)")
        torch.onnx.export(
            network,
            (example,),
            str(temporary),
            dynamo=False,
            opset_version=OPSET,
            input_names=[network_input],
            output_names=list(exported.outputs),
            dynamic_axes=changing if sides else {},
        )


def _input(
    exported: Exportable, batch: int | None, size: tuple[int, int] | None
) -> tuple[str, Tensor, dict[int, str]]:
    """Return the input's name, an example of it, and names of the axes whose length is free."""
    count = 2 if batch is None else batch
    free = {} if batch is not None else {0: "batch"}
    if exported.multiple is None:
        return "pairs", torch.rand(count, 2 * DESCRIPTOR_SIZE), free
    if size is None:
        return (
            "images",
            torch.rand(count, 1, EXAMPLE_SIDE, 2 * EXAMPLE_SIDE),
            {**free, 2: "height", 3: "width"},
        )
    return "images", torch.rand(count, 1, size[1], size[0]), free


def _check(
    name: str, exported: Exportable, batch: int | None, size: tuple[int, int] | None
) -> None:
    """Refuse what the network cannot take."""
    if batch is not None and batch < 1:
        raise InputError(f"--batch {batch}: must be at least 1")
    if size is None:
        return
    given, multiple = f"--image-size {size[0]}x{size[1]}", exported.multiple
    if multiple is None:
        raise InputError(f"{given}: {name} takes no images, but pairs of descriptors; leave it out")
    if any(side < multiple or side % multiple for side in size):
        raise InputError(f"{given}: {name} needs multiples of {multiple} px")
