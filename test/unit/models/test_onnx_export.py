"""Exported networks compute in onnxruntime what they compute in torch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from deviloc_ros.cli.main import main
from deviloc_ros.cli.weights import EXPORTED
from deviloc_ros.models import onnx_export
from deviloc_ros.models.onnx_export import NETWORKS
from deviloc_ros.models.topicfm.backbone import Backbone

CASES = [
    ("xfeat", [], (3, 1, 96, 160)),
    ("xfeat", ["--image-size", "96x64", "--batch", "1"], (1, 1, 64, 96)),
    ("xfeat-fine", [], (5, 128)),
    ("topicfm", [], (1, 1, 48, 80)),
]


@pytest.fixture(autouse=True)
def topicfm_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network = SimpleNamespace(matcher=SimpleNamespace(backbone=Backbone().eval()))
    monkeypatch.setattr(onnx_export, "load_network", lambda: network)


@pytest.mark.parametrize(("name", "options", "shape"), CASES)
def test_onnxruntime_gives_the_numbers_of_torch(
    name: str, options: list[str], shape: tuple[int, ...], tmp_path: Path
) -> None:
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path / "network.onnx"
    assert main(["weights", "export", name, str(path), *options]) == 0
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    expected = NETWORKS[name].load()(values)
    found = session.run(None, {session.get_inputs()[0].name: values.numpy()})
    assert [each.name for each in session.get_outputs()] == list(NETWORKS[name].outputs)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), atol=2e-4, rtol=1e-4)
    free = [not isinstance(side, int) for side in session.get_inputs()[0].shape]
    assert free == ([False] * 4 if options else [True, False, True, True][: len(shape)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["xfeat", "--image-size", "100x64"], "xfeat needs multiples of 32 px"),
        (["topicfm", "--image-size", "24x16"], "topicfm needs multiples of 16 px"),
        (["xfeat-fine", "--image-size", "64x64"], "takes no images"),
        (["xfeat", "--batch", "0"], "must be at least 1"),
    ],
)
def test_what_a_network_cannot_take_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "network.onnx"
    assert main(["weights", "export", arguments[0], str(path), *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda _: None)
    assert main(["weights", "export", "xfeat", str(tmp_path / "network.onnx")]) == 2
    assert "deviloc_ros[onnx]" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_line_names_the_networks_that_can_be_exported() -> None:
    assert tuple(NETWORKS) == EXPORTED
