"""An array whose rows lie in tiles; only rows that are asked for are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deviloc_ros.maps.tile_store import TileStore


@dataclass(frozen=True)
class TiledArray:
    """One of a map's arrays, put together from those of its tiles.

    It can be measured and indexed by rows as a numpy array can: `len`, slices, indices, masks.

    Attributes:
        store: the tiles.
        name: of the array in each of them.
        offsets: (T + 1,) int64, the first row of each tile, and the number of rows.
        shift: (T, ...) added to the rows of each tile: positions are relative to a tile's own
            origin, indices count within a tile. None adds nothing.
        dtype: of the rows.
        tail: shape of a row.
    """

    store: TileStore
    name: str
    offsets: NDArray[np.int64]
    shift: NDArray[Any] | None
    dtype: np.dtype[Any]
    tail: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """As a numpy array's."""
        return len(self), *self.tail

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.offsets[-1])

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any]) -> NDArray[Any]:
        """Return rows, tile by tile.

        Raises:
            InputError: a tile cannot be loaded.
            IndexError: there is no such row.
        """
        chosen = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        if chosen.size and not (chosen.min() >= 0 and chosen.max() < len(self)):
            raise IndexError(f"{self.name}: there are {len(self)} rows")
        result = np.empty((*chosen.shape, *self.tail), self.dtype)
        tile_of = np.searchsorted(self.offsets, chosen, side="right") - 1
        for tile in np.unique(tile_of).tolist():
            here = tile_of == tile
            part = getattr(self.store.get(tile), self.name)[chosen[here] - self.offsets[tile]]
            result[here] = part if self.shift is None else part + self.shift[tile]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows, through every tile; the tiles themselves are let go again."""
        everything = self[:]
        return everything if dtype is None else everything.astype(dtype)
