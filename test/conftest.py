"""Fixtures for every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from hypothesis import settings
from rig_scene import RigScene
from rig_scene import config as rig_config
from rig_scene import make as make_rig_scene
from untouched import Snapshot, changes, snapshot

# How long an example takes says nothing about whether it is right, and machines are shared.
settings.register_profile("deviloc", deadline=None)
settings.load_profile("deviloc")

if TYPE_CHECKING:
    from shared.mock_cuda import Log

    from deviloc_ros.localization import Localizer
    from deviloc_ros.localization.rig.types import RigEstimate
    from deviloc_ros.localization.types import LocalizationFailure

ROOT = Path(__file__).resolve().parent.parent


BEFORE = pytest.StashKey[Snapshot]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Remember the checkout and the environment, once for all processes."""
    if not hasattr(session.config, "workerinput"):
        session.config.stash[BEFORE] = snapshot(ROOT)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where tests have changed the checkout or the environment."""
    before = session.config.stash.get(BEFORE, None)
    if before is not None and (found := changes(before, snapshot(ROOT))):
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.section("what the tests (or somebody meanwhile) left changed", red=True)
            reporter.write("".join(f"{line}\n" for line in found))
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests together that parallel workers must not share out.

    Those over DDS run one after the other, for their nodes would take each other's time; those of
    one file share its fixtures.
    """
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group_of(item)))


def _group_of(item: pytest.Item) -> str:
    over_dds = "ros" in item.path.relative_to(ROOT / "test").parts
    shares_scene = "rig_scene" in getattr(item, "fixturenames", ())
    return "ros" if over_dds or shares_scene else item.path.stem


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: Sequence[str]) -> None:
    """Refuse to run where groups are not kept together, instead of taking twice as long.

    pytest-xdist says in a test's id which group it is of; with pytest 9.2 that gets lost.
    """
    if node.config.getoption("dist") == "loadgroup" and not all("@" in name for name in ids):
        pytest.exit("this pytest-xdist cannot group tests with this pytest", returncode=4)


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
def wall_map_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the map of the simulated wall, made once for all processes: only to be read."""
    import wall_map

    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    path = folder / "wall" / "wall.devmap"
    with FileLock(folder / "wall.lock"):
        return path if path.exists() else wall_map.write_map(path.parent)


@pytest.fixture(scope="session")
def rig_scene(tmp_path_factory: pytest.TempPathFactory) -> RigScene:
    """Return a simulated street seen by a rig, and a map of it."""
    pytest.importorskip("vtkmodules", reason="the simulated street is rendered with VTK")
    return make_rig_scene(tmp_path_factory.mktemp("rig"))


@pytest.fixture(scope="session")
def rig_localizer(rig_scene: RigScene) -> Localizer:
    """Return what localizes in the map of the simulated street."""
    from deviloc_ros.localization import Localizer

    return Localizer.load(rig_scene.map_path, rig_config())


@pytest.fixture(scope="session")
def rig_results(
    rig_scene: RigScene, rig_localizer: Localizer
) -> list[RigEstimate | LocalizationFailure]:
    """Return what the rig makes of every moment of the second drive."""
    return [
        rig_localizer.localize_rig(
            [moment.images[item.name] for item in rig_scene.rig],
            [item.camera for item in rig_scene.rig],
            [item.base_from_camera for item in rig_scene.rig],
        )
        for moment in rig_scene.second
    ]


@pytest.fixture
def cuda() -> Iterator[Log]:
    """A mock CUDA device, which needs g++ and a CPU build of torch, and what it is asked to do."""
    import torch
    from shared.mock_cuda import mock_cuda

    if torch.backends.cuda.is_built():
        pytest.skip("torch is built for CUDA: the mock device is for CPU builds")
    if shutil.which("g++") is None:
        pytest.skip("the mock device needs g++")
    with mock_cuda() as log:
        yield log
