"""The arrows between layers, by reading imports: they keep the method free of what surrounds it."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "deviloc_ros"
MODULES = sorted(PACKAGE.rglob("*.py"))
DOOR = PACKAGE / "__init__.py"
"""Names what users import, from whichever layer it is in."""

ROS_PACKAGES = {
    "rclpy", "tf2_ros", "tf2_msgs", "cv_bridge", "sensor_msgs", "geometry_msgs", "std_msgs",
    "std_srvs", "nav_msgs", "diagnostic_msgs", "visualization_msgs", "builtin_interfaces",
    "lifecycle_msgs", "rosgraph_msgs", "rcl_interfaces", "rosidl_runtime_py", "message_filters",
}  # fmt: skip
# layer -> layers of this package that it may know; cli may know all
ALLOWED = {
    "geometry": set(),
    "messages": {"geometry"},
    "models": {"geometry"},
    "datasets": {"geometry"},
    "maps": {"geometry"},
    "lifting": {"geometry", "models"},
    "localization": {"geometry", "maps", "models"},
    "cluster": set(),
    "mapping": {"cluster", "datasets", "geometry", "lifting", "localization", "maps", "models"},
    "robot": {"geometry", "localization", "messages"},
    "bags": {"geometry", "messages", "robot"},
    "offline": {"bags", "datasets", "geometry", "localization", "maps", "messages", "robot"},
    "robotcar": {"bags", "datasets", "geometry", "mapping", "maps", "messages"},
    "evaluation": {"geometry", "localization"},
    "benchmark": {"cluster", "datasets", "evaluation", "geometry", "localization", "mapping",
                  "maps", "models", "offline", "robot", "robotcar"},
    "simulation": {"datasets", "geometry"},
    "training": {"datasets", "geometry", "lifting", "models", "simulation"},
    "ros": {"bags", "datasets", "evaluation", "geometry", "localization", "maps", "messages",
            "robot"},
    "demo": {"bags", "datasets", "geometry", "localization", "mapping", "maps", "messages",
             "offline", "robot", "ros", "simulation"},
}  # fmt: skip
LAYERS = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def _imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _id(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def _layer(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_only_ros_imports_ros(path: Path) -> None:
    if _layer(path) != "ros":
        assert not ROS_PACKAGES & {name.partition(".")[0] for name in _imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=_id)
def test_nothing_imports_the_command_line(path: Path) -> None:
    if _layer(path) != "cli":
        assert not [name for name in _imports(path) if name.startswith("deviloc_ros.cli")]


@pytest.mark.parametrize("path", [path for path in MODULES if path != DOOR], ids=_id)
def test_layers_know_only_what_is_below_them(path: Path) -> None:
    known = {name.split(".")[1] for name in _imports(path) if name.startswith("deviloc_ros.")}
    layer = _layer(path)
    assert known & LAYERS <= ALLOWED.get(layer, LAYERS if layer == "cli" else {"models"}) | {layer}


def test_the_rules_name_every_layer() -> None:
    assert set(ALLOWED) == LAYERS - {"cli"}
    assert set().union(*ALLOWED.values()) <= LAYERS - {"cli"}


def test_no_arrow_points_back() -> None:
    graphlib.TopologicalSorter(ALLOWED).prepare()  # raises CycleError where there is a circle


def test_only_the_command_line_and_benchmarks_know_robotcar() -> None:
    assert [layer for layer, known in ALLOWED.items() if "robotcar" in known] == ["benchmark"]


def test_the_ros_layer_is_really_seen_to_import_ros() -> None:
    # Were the reading of imports broken, the tests above would pass on anything.
    ros = {
        name.partition(".")[0]
        for path in (PACKAGE / "ros").rglob("*.py")
        for name in _imports(path)
    }
    assert "rclpy" in ros


@pytest.mark.parametrize(
    "module", ["localization", "mapping.build", "robot.localize_frames", "offline.bag"]
)
def test_the_core_and_bags_do_without_middleware(module: str) -> None:
    code = (
        f"import sys, deviloc_ros.{module}\n"
        f"print(sorted({ROS_PACKAGES!r} & {{name.partition('.')[0] for name in sys.modules}}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["map", "build", "--help"], ["localize", "--help"]]
)
def test_help_does_not_load_networks(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom deviloc_ros.cli.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'pycolmap', 'cv2', 'rclpy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    assert "examples" in done.stdout or "localize" in done.stdout


def test_launch_files_need_nothing_but_launch() -> None:
    """`ros2 launch` runs them in ROS' own Python, which lacks what this package requires."""
    root = PACKAGE.parent
    waiting = [*root.glob("launch/*.py"), *(PACKAGE / "ros" / "launch").glob("*.py")]
    seen: set[Path] = set()
    foreign: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in _imports_at_once(path):
            if not name.startswith("deviloc_ros"):
                foreign.add(name.partition(".")[0])
                continue
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                base = root.joinpath(*parts[:length])
                waiting += filter(Path.exists, (base.with_suffix(".py"), base / "__init__.py"))
    assert foreign - sys.stdlib_module_names == {"ament_index_python", "launch", "launch_ros"}


def _imports_at_once(path: Path) -> set[str]:
    """Return what a module imports when it is imported, and not only inside of functions."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names
