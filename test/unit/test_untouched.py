"""The check at the end of the tests sees what a test did to the checkout or the environment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from untouched import changes, snapshot


def test_files_that_come_go_and_change_are_told(tmp_path: Path) -> None:
    for name in ("kept", "gone", "changed"):
        (tmp_path / name).write_text(name)
    before = snapshot(tmp_path)
    (tmp_path / "gone").unlink()
    (tmp_path / "changed").write_text("something else")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/new").touch()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/module.pyc").touch()
    found = changes(before, snapshot(tmp_path))
    assert found == ["changed was changed", "folder/new is new", "gone is gone"]


def test_packages_that_come_and_go_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = snapshot(tmp_path / "none")
    assert any(name == "package pytest" for name in before)
    info = tmp_path / "robot_paint-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: robot-paint\nVersion: 2.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    after = snapshot(tmp_path / "none")
    assert changes(before, after) == ["package robot-paint is new"]
    assert changes(after, before) == ["package robot-paint is gone"]
