"""What the arrays and the description of a map must hold: types, shapes, numbers.

Checksums tell of damage. They do not tell of a file that some program wrote wrongly, or that was
made to do harm: numbers that are none would go through networks and solvers unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deviloc_ros.errors import InputError
from deviloc_ros.geometry.transform import FARTHEST

ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Rule:
    """What an array must be.

    Attributes:
        dtype: numpy's name, or several.
        shape: a letter stands for a number that is the same in every array; C * D is "CD".
        least: no number is smaller.
        most: no number is larger.
        unknown: what is not finite is allowed, and means that nothing is known.
    """

    dtype: str | tuple[str, ...]
    shape: tuple[str | int, ...]
    least: float = -np.inf
    most: float = np.inf
    unknown: bool = False


ARRAYS = {
    "feature_offsets": Rule("int64", ("R+1",)),
    "keypoints": Rule("float32", ("F", 2), -FARTHEST, FARTHEST),
    "descriptors": Rule(("int8", "float16"), ("F", "D")),
    "levels": Rule("uint8", ("F",), 0, 1),
    # Of older programs' maps, points of nearly parallel rays may be anywhere.
    "feature_points": Rule("float32", ("F", 3), unknown=True),
    "confidence": Rule("float16", ("F",), 0, 1),
    "global_descriptors": Rule("float16", ("R", "CD")),
    "codebook": Rule("float32", ("C", "D"), -1e6, 1e6),
    "point_array": Rule("float32", ("P", 3), -FARTHEST, FARTHEST),
    "observation_offsets": Rule("int64", ("R+1",)),
    "observation_points": Rule("int32", ("O",), 0),
    "observation_pixels": Rule("float32", ("O", 2), -FARTHEST, FARTHEST),
    "depth_sigma": Rule("float16", ("F",), 0, unknown=True),
    "image_offsets": Rule("int64", ("R+1",)),
    "image_bytes": Rule("uint8", ("B",)),
}
OF_INDEX = {
    "reference_offsets": Rule("int64", ("T+1",)),
    "point_offsets": Rule("int64", ("T+1",)),
    "feature_offsets": Rule("int64", ("R+1",)),
    "observation_offsets": Rule("int64", ("R+1",)),
    "global_descriptors": Rule("float16", ("R", "CD")),
    "codebook": Rule("float32", ("C", "D"), -1e6, 1e6),
    "border_pairs": Rule("int32", ("E", 2), 0),
    "border_points": Rule("int32", ("E",), 0),
}

Number = Annotated[float, Field(allow_inf_nan=False)]
Coordinate = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST)]
Position = tuple[Coordinate, Coordinate, Coordinate]
OfLevel = tuple[Number, Number]
Factor = Annotated[float, Field(gt=0, le=1e9)]


class _Described(BaseModel):
    """Keys that are not known are those of newer maps: they mean nothing here."""

    model_config = ConfigDict(extra="ignore", strict=False)


class ReferenceEntry(_Described):
    """One of `references`."""

    name: Annotated[str, Field(min_length=1)]
    camera: str
    quaternion_wxyz: tuple[Number, Number, Number, Number]
    translation: Position


class Description(_Described):
    """The description of a map."""

    references: Annotated[list[ReferenceEntry], Field(min_length=1)]
    origin: Position
    metric: bool
    gravity_aligned: bool
    offset_bias: tuple[OfLevel, OfLevel]
    covariance_scale: Factor | Annotated[list[Factor], Field(min_length=1)]
    topicfm_covariance_scale: Factor | Annotated[list[Factor], Field(min_length=1)] = 1.0
    offset_pull: tuple[OfLevel, OfLevel] = ((0.0, 0.0), (0.0, 0.0))
    aligned_shared_error: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    unregistered: dict[str, str]
    meta: dict[str, Any]
    image_size: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class TileEntry(_Described):
    """One of `tiles`."""

    file: Annotated[str, Field(min_length=1)]
    id: str
    bounds: tuple[Position, Position]
    origin: Position


class IndexDescription(Description):
    """The description of an index of tiles."""

    tiles: Annotated[list[TileEntry], Field(min_length=1)]
    alignable: bool = False


Kind = TypeVar("Kind", bound=Description)


def check_description(path: Path, kind: type[Kind], values: Any) -> None:
    """Refuse a description that is not of its kind.

    Raises:
        InputError: it lacks a key, or a value is not what it must be.
    """
    wrong = ""
    try:
        kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        wrong = f"{place or 'description'}: {first['msg'].lower()}"
    if wrong:
        raise InputError(f"{path}: the map is damaged: {wrong}; build it again")


def check_arrays(
    path: Path,
    rules: Mapping[str, Rule],
    arrays: Mapping[str, NDArray[Any]],
    references: int,
    numbers: bool = True,
) -> None:
    """Refuse arrays of other types and shapes, and numbers that cannot be; offsets are not checked.

    Args:
        path: of the map, for the error.
        rules: by name.
        arrays: those that are there.
        references: R.
        numbers: check every number, which reads all of them once.

    Raises:
        InputError: an array is not what its rule says.
    """
    sizes = {"R": references}
    for name, rule in rules.items():
        if name not in arrays:
            continue
        array = arrays[name]
        dtypes = (rule.dtype,) if isinstance(rule.dtype, str) else rule.dtype
        if array.dtype.name not in dtypes or not _fits(array.shape, rule.shape, sizes):
            raise InputError(
                f"{path}: the map is damaged: array {name} is {array.dtype} {array.shape}, which "
                f"does not fit the others; expected {' or '.join(dtypes)} "
                f"({', '.join(map(str, rule.shape))}); build it again"
            )
        if numbers and not _within(array, rule):
            raise InputError(
                f"{path}: the map is damaged: array {name} holds numbers that cannot be; build it "
                "again"
            )


def _fits(shape: tuple[int, ...], rule: tuple[str | int, ...], sizes: dict[str, int]) -> bool:
    """Return whether a shape is that of a rule; sizes that are met for the first time are kept."""
    if len(shape) != len(rule):
        return False
    for side, expected in zip(shape, rule, strict=True):
        if isinstance(expected, int):
            fits = side == expected
        elif expected.endswith("+1"):
            fits = side == sizes.setdefault(expected[0], side - 1) + 1
        elif expected == "CD":
            fits = True  # known when the codebook is: see below
            sizes["CD"] = side
        else:
            fits = side == sizes.setdefault(expected, side)
        if not fits:
            return False
    return {"C", "D", "CD"} - sizes.keys() != set() or sizes["C"] * sizes["D"] == sizes["CD"]


def _within(array: NDArray[Any], rule: Rule) -> bool:
    """Return whether all numbers are within the bounds; some rows at once, for maps are large."""
    bounded = rule.least > -np.inf or rule.most < np.inf
    if not bounded and array.dtype.kind != "f":
        return True
    for begin in range(0, len(array), ROWS_AT_ONCE):
        rows = array[begin : begin + ROWS_AT_ONCE]
        if not rule.unknown and rows.dtype.kind == "f" and not np.isfinite(rows).all():
            return False
        known = rows[np.isfinite(rows)] if rule.unknown else rows
        if bounded and bool(((known < rule.least) | (known > rule.most)).any()):
            return False
    return True


def are_offsets(offsets: NDArray[np.int64], total: int | None = None) -> bool:
    """Return whether offsets begin with 0, never decrease, and end with `total` if it is known."""
    return bool(
        offsets[0] == 0
        and (offsets[1:] >= offsets[:-1]).all()  # differences could overflow
        and (total is None or offsets[-1] == total)
    )
