"""Files of satellite fixes beside images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deviloc_ros.datasets.lines import read_lines, split_name
from deviloc_ros.errors import InputError
from deviloc_ros.geometry.position_fix import PositionFix

FIX_LINE = "name latitude longitude altitude east_sigma north_sigma up_sigma x y z"


def read_fixes(path: Path) -> list[PositionFix]:
    """Read lines of FIX_LINE; x y z is `PositionFix.from_camera`.

    Raises:
        InputError: the file cannot be read, or a line of it is wrong.
    """
    fixes = []
    for place, text in read_lines(path):
        name, values = split_name(place, text, 9, FIX_LINE)
        table = np.array(values, dtype=np.float64).reshape(3, 3)
        if not (table[1] > 0).all():
            raise InputError(f"{place}: standard deviations must be above 0")
        fixes.append(PositionFix(name, *table))
    return fixes
