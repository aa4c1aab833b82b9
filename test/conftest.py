"""Fixtures for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings
from rig_scene import RigScene
from rig_scene import make as make_rig_scene

# How long an example takes says nothing about whether it is right, and machines are shared.
settings.register_profile("deviloc", deadline=None)
settings.load_profile("deviloc")

ROOT = Path(__file__).resolve().parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests together that parallel workers must not share out.

    Those over DDS run one after the other, for their nodes would take each other's time; those of
    one file share its fixtures.
    """
    for item in items:
        over_dds = "ros" in item.path.relative_to(ROOT / "test").parts
        shares_scene = "rig_scene" in getattr(item, "fixturenames", ())
        group = "ros" if over_dds or shares_scene else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Return the folder of real scenes and specifications that lies beside the checkout.

    `DEVILOC_SHARED` names another place. Tests that ask for it are skipped where it is absent.
    """
    path = Path(os.environ.get("DEVILOC_SHARED", ROOT.parent / "shared"))
    if not (path / "data").is_dir():
        pytest.skip(f"no real scenes: {path / 'data'} is absent (set DEVILOC_SHARED)")
    return path


@pytest.fixture(scope="session")
def data_dir(shared_dir: Path) -> Path:
    """Return the folder of real image sets, one folder a scene."""
    return shared_dir / "data"


@pytest.fixture(scope="session")
def rig_scene(tmp_path_factory: pytest.TempPathFactory) -> RigScene:
    """Return a simulated street seen by a rig, and a map of it."""
    pytest.importorskip("vtkmodules", reason="the simulated street is rendered with VTK")
    return make_rig_scene(tmp_path_factory.mktemp("rig"))
