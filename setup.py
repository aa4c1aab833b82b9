"""An ament_python package and an ordinary Python package: `colcon build` or `pip install .`."""

import sys
from pathlib import Path

from setuptools import find_packages, setup

NAME = "deviloc_ros"
ROOT = Path(__file__).parent
VERSION = (
    (ROOT / NAME / "__init__.py").read_text(encoding="utf-8").split('__version__ = "')[1]
).split('"')[0]

requirements = [
    line
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def files(folder: str, pattern: str) -> list[str]:
    """Return the files to install from a folder, relative to this one, as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob(pattern))


# colcon puts the console scripts themselves into lib/deviloc_ros (setup.cfg), pip into bin.
executables = files("resource/bin", "*") if "bdist_wheel" in sys.argv else []

setup(
    name=NAME,
    version=VERSION,
    description="Visual localization of robots against a prior map: DeViLoc (CVPR 2024) for ROS 2",
    author="deviloc_ros developers",
    maintainer="deviloc_ros developers",
    maintainer_email="deviloc_ros@users.noreply.github.com",
    license="Apache-2.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"], f"{NAME}.evaluation": ["*.html", "templates/*"]},
    python_requires=">=3.10",
    install_requires=requirements,
    extras_require={"demo": ["pyvista>=0.44", "scikit-image>=0.22"]},
    entry_points={
        "console_scripts": [
            "deviloc = deviloc_ros.cli.main:main",
            # What `ros2 run deviloc_ros ...` and launch files start.
            "localization_node = deviloc_ros.ros.main:main",
        ]
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"lib/{NAME}", executables),
        (f"share/{NAME}/launch", files("launch", "*.launch.py")),
        (f"share/{NAME}/config", files("config", "*")),
    ],
    zip_safe=False,
)
