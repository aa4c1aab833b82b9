"""What pip, colcon and `./run` need to be true of the package."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest

import deviloc_ros

ROOT = Path(__file__).resolve().parents[2]
# Distribution by import name, where the package index names it otherwise than its modules.
OTHER_NAMES = {
    "backports": "backports-zstd",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "yaml": "pyyaml",
}
EXTRAS = {"pyvista", "rerun", "skimage", "vtk", "vtkmodules"}
"""What only the simulated drive and `map view --rerun` import, installed by extras of setup.py."""

EXECUTABLES = ("deviloc", "localization_node", "map_display", "pose_recorder")
"""What `ros2 run` starts."""


def imports(folder: Path) -> dict[str, set[str]]:
    """Return the top-level modules that the files of a folder import, with the files."""
    found: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(str(path.relative_to(ROOT)))
    return found


def required(file: str) -> set[str]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    names = (re.match(r"[\w-]+", line) for line in lines)
    return {name.group().lower().replace("_", "-") for name in names if name}


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def test_versions_agree() -> None:
    assert package_xml().findtext("version") == deviloc_ros.__version__


def test_ros_packages_that_are_imported_are_declared() -> None:
    declared = {element.text for element in package_xml().findall("exec_depend")}
    declared.add("tf2_ros" if "tf2_ros_py" in declared else "")
    ros = {
        name
        for folder in ("deviloc_ros", "launch")
        for name in imports(ROOT / folder)
        if name.endswith(("_msgs", "_interfaces", "_ros", "_bridge"))
        or name in ("rclpy", "launch", "ament_index_python")
    }
    started = {
        name
        for path in (ROOT / "deviloc_ros" / "ros" / "launch").glob("*.py")
        for name in re.findall(r'package="(\w+)"', path.read_text(encoding="utf-8"))
    }
    assert "rviz2" in started
    assert (ros | started) - {"deviloc_ros"} <= declared


def test_python_packages_that_are_imported_are_required() -> None:
    declared = required("requirements.txt")
    ros = {element.text for element in package_xml().findall("exec_depend")}
    known = set(sys.stdlib_module_names) | {"deviloc_ros", "tf2_ros", "ament_index_python"} | EXTRAS
    known.add("compression")  # of the standard library since Python 3.14
    unknown = {
        name: files
        for name, files in imports(ROOT / "deviloc_ros").items()
        if name not in known
        and name not in ros
        and not any(
            candidate.lower().replace("_", "-") in declared
            for candidate in [OTHER_NAMES.get(name, name), *packages_distributions().get(name, [])]
        )
    }
    assert unknown == {}


def test_everything_required_is_pinned() -> None:
    pinned = required("constraints.txt")
    assert required("requirements.txt") | required("requirements-dev.txt") <= pinned
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    # Without a local version such as +cpu, pip takes the build that fits the machine.
    assert re.search(r"^torch==[\d.]+$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy, so that nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = copied(folder / "source")
    script = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=source, check=True, capture_output=True
    )
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def copied(folder: Path) -> Path:
    """Copy the checkout without what is not part of it, so that nothing is left in it."""
    ignored = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "test", "demo-*")
    shutil.copytree(ROOT, folder, ignore=ignored, symlinks=True)
    return folder


@pytest.fixture(scope="module")
def pip_prefix(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install as `pip install .` does, beside the environment that the tests run in."""
    prefix = tmp_path_factory.mktemp("pip")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    # Without --ignore-installed, pip takes the package out of the environment that it runs in.
    command += ["--disable-pip-version-check", "--ignore-installed"]
    command += ["--prefix", str(prefix), str(wheel.filename)]
    subprocess.run(command, check=True, capture_output=True)
    return prefix


@pytest.fixture(scope="module")
def colcon_prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install as `colcon build` does with an ament_python package."""
    folder = tmp_path_factory.mktemp("colcon")
    command = [sys.executable, "setup.py", "build", "install", "--prefix", str(folder / "install")]
    command += ["--record", str(folder / "log"), "--single-version-externally-managed"]
    subprocess.run(command, cwd=copied(folder / "source"), check=True, capture_output=True)
    return folder / "install"


def files(root: Path, folder: str) -> set[Path]:
    """Return the files of a folder, relative to its root; pip compiles what it installs."""
    return {
        path.relative_to(root)
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("how", ["pip_prefix", "colcon_prefix"])
def test_what_ros2_run_and_launch_look_for_is_installed(
    how: str, request: pytest.FixtureRequest
) -> None:
    prefix: Path = request.getfixturevalue(how)
    share = prefix / "share" / "deviloc_ros"
    for folder in ("launch", "config"):
        shipped = files(ROOT, folder)
        assert len(shipped) > 4
        assert files(share, folder) == shipped
    assert (share / "package.xml").is_file()
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    assert (index / "deviloc_ros").is_file()
    for name in EXECUTABLES:
        assert os.access(prefix / "lib" / "deviloc_ros" / name, os.X_OK), name


def test_wheel_holds_every_module(wheel: zipfile.ZipFile) -> None:
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "deviloc_ros").rglob("*.py")}
    assert modules <= set(wheel.namelist())
    assert "deviloc_ros/py.typed" in wheel.namelist()


def test_wheel_holds_weights_and_pages(wheel: zipfile.ZipFile) -> None:
    compiled = {".py", ".pyc", ".nbi", ".nbc"}
    shipped = {path for path in files(ROOT, "deviloc_ros") if path.suffix not in compiled}
    assert {path.suffix for path in shipped} >= {".safetensors", ".html", ".typed"}
    assert {path.as_posix() for path in shipped} <= set(wheel.namelist())


def test_links_in_lib_start_what_pip_made_in_bin(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib" / "deviloc_ros").mkdir(parents=True)
    for name in EXECUTABLES:
        shutil.copy(ROOT / "resource" / "bin" / name, tmp_path / "lib" / "deviloc_ros" / name)
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\necho {name} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
        command = [str(tmp_path / "lib" / "deviloc_ros" / name), "a b", "c"]
        assert subprocess.check_output(command, text=True) == f"{name} a b c\n"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "run"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_run_explains_itself_and_refuses_what_it_does_not_know() -> None:
    assert "./run demo" in run("--help").stdout
    for arguments in ((), ("dance",)):
        result = run(*arguments)
        assert result.returncode == 2
        assert "usage" in result.stderr


def test_run_never_clears_a_folder_that_is_not_an_environment(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    result = run("setup", DEVILOC_VENV=str(tmp_path))
    assert result.returncode == 1
    assert "not a virtual environment" in result.stderr
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_the_newest_releases_get_an_environment_of_their_own(tmp_path: Path) -> None:
    # That one is no environment, so that nothing is installed here.
    (tmp_path / "venv-newest").mkdir()
    (tmp_path / "venv-newest/thesis.tex").touch()
    result = run("test", "--newest", DEVILOC_VENV=str(tmp_path / "venv"))
    assert result.returncode == 1
    assert f"{tmp_path / 'venv-newest'} is not a virtual environment" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_run_refuses_a_python_that_does_not_fit(tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    result = run("setup", PYTHON=str(fake), DEVILOC_VENV=str(tmp_path / "venv"))
    assert result.returncode == 1
    assert f"PYTHON={fake}" in result.stderr
    assert not (tmp_path / "venv").exists()
