"""Importing checkpoints: what fits is kept, what does not is refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from deviloc_ros.cli.main import main
from deviloc_ros.models.published.deviloc import DeViLocNetwork
from deviloc_ros.models.published.rule_weights import rule_network
from deviloc_ros.models.weight_store import load_network, weights_directory


@pytest.fixture(scope="module")
def network() -> DeViLocNetwork:
    return rule_network("test")


@pytest.fixture(autouse=True)
def _own_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data home"))


def lightning(network: DeViLocNetwork, **changes: Any) -> dict[str, Any]:
    state: dict[str, Any] = {f"model.{key}": value for key, value in network.state_dict().items()}
    for key, value in changes.items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    return {"state_dict": state, "epoch": 12, "pytorch-lightning_version": "1.9.0"}


def save(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["weights", "import", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(path) in captured.err
    assert not list(weights_directory().glob("*"))
    return captured.err


def test_imported_weights_are_the_checkpoint(
    network: DeViLocNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "deviloc_weights.ckpt", lightning(network))
    assert main(["weights", "import", str(path)]) == 0
    said = capsys.readouterr().out
    assert "342 tensors, 15909618 parameters" in said
    assert "not the file of the authors' repository" in said
    assert "left out: epoch, pytorch-lightning_version" in said
    data = path.read_bytes()
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
    assert f"git hash-object gives {blob}" in said
    loaded = load_network().state_dict()
    for key, value in network.state_dict().items():
        assert torch.equal(loaded[key], value), key


def test_list_shows_imports_and_damage(
    network: DeViLocNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["weights", "list"]) == 0
    assert "nothing imported" in capsys.readouterr().out
    both = [
        save(tmp_path / "deviloc_weights.ckpt", lightning(network)),
        save(
            tmp_path / "fast.ckpt",
            {"state_dict": {f"matcher.{k}": v for k, v in network.matcher.state_dict().items()}},
        ),
    ]
    assert main(["weights", "import", *map(str, both)]) == 0
    capsys.readouterr()
    assert main(["weights", "list", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in entries] == ["deviloc", "topicfm_fast"]
    assert all(entry["intact"] and not entry["published"] for entry in entries)
    with Path(entries[0]["path"]).open("r+b") as file:
        file.seek(-1, io.SEEK_END)
        last = file.read(1)
        file.seek(-1, io.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    assert main(["weights", "list"]) == 0
    assert "DAMAGED" in capsys.readouterr().out
    with pytest.raises(ValueError, match="checksum is wrong"):
        load_network()


def test_without_import_loading_says_what_to_do() -> None:
    with pytest.raises(ValueError, match="deviloc weights import"):
        load_network()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model.matcher.fine_net.detector.1.bias": None}, "1 missing (such as matcher.fine_net"),
        ({"model.extra": torch.zeros(1)}, "1 unknown (such as extra)"),
        (
            {"model.matcher.backbone.norm_outlayer1.weight": torch.ones(96)},
            "backbone.norm_outlayer1.weight has shape (96,), deviloc_weights.ckpt has (128,)",
        ),
        ({"model.pts3d_infer.pts2d_scale": torch.ones(1, 1, 2).double()}, "must be torch.float32"),
        ({"model.pts3d_infer.pts2d_scale": torch.full((1, 1, 2), torch.nan)}, "not finite"),
        ({"model.pts3d_infer.pts2d_scale": 10.0}, "not a dense tensor"),
    ],
)
def test_refuses_other_networks(
    network: DeViLocNetwork,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    message: str,
) -> None:
    path = save(tmp_path / "other.ckpt", lightning(network, **changes))
    assert message in refusal(path, capsys)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_refuses_python_objects_without_running_them(
    network: DeViLocNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sprung = tmp_path / "sprung"
    content = {**lightning(network), "hyper_parameters": Trap(sprung)}
    said = refusal(save(tmp_path / "trap.ckpt", content), capsys)
    assert "Python objects besides tensors" in said
    assert "pathlib.Path" in said
    assert not sprung.exists()


@pytest.mark.parametrize("kind", ["absent", "empty", "text", "truncated", "list", "bomb", "folder"])
def test_refuses_what_is_no_checkpoint(
    network: DeViLocNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "file.ckpt"
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
    elif kind == "truncated":
        data = save(path, lightning(network)).read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif kind == "list":
        save(path, [1, 2, 3])
    elif kind == "folder":
        path.mkdir()
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(10_000_000))
    refusal(path, capsys)


def test_an_archive_whose_names_are_no_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "x.ckpt", {"state_dict": {}})
    content = path.read_bytes()
    # The directory is at the end; the flag before the name says that it is UTF-8.
    entry = content.rindex(b"PK\x01\x02")
    damaged = bytearray(content)
    damaged[entry + 9] |= 0x08
    damaged[entry + 46] = 0xAF
    path.write_bytes(damaged)
    assert "damaged checkpoint" in refusal(path, capsys)


def test_an_archive_of_several_disks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "x.ckpt", {"state_dict": {}})
    damaged = bytearray(path.read_bytes())
    # Of the locator of the large directory: the disk that it is on.
    damaged[damaged.rindex(b"PK\x06\x07") + 4] = 0xFF
    path.write_bytes(damaged)
    assert "damaged checkpoint" in refusal(path, capsys)


def test_one_bad_file_imports_none(
    network: DeViLocNetwork, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = save(tmp_path / "deviloc_weights.ckpt", lightning(network))
    bad = save(tmp_path / "bad.ckpt", {"weights": {}})
    assert main(["weights", "import", str(good), str(bad)]) == 2
    assert "no entry 'state_dict'" in capsys.readouterr().err
    assert not weights_directory().exists()
