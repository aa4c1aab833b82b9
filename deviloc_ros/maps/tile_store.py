"""The tiles of a map: few are in memory, the neighbouring ones are loaded ahead.

`TiledArray` is one of the map's arrays put together from those of its tiles; only rows that are
asked for are read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from deviloc_ros.maps.map import Map


class TileStore:
    """Loads tiles when they are needed and lets the least recently used one go.

    It is used by one thread; another one of its own fetches ahead.
    """

    def __init__(self, load: Callable[[int], Map], capacity: int) -> None:
        """Start empty.

        Args:
            load: opens a tile by its number.
            capacity: tiles that are in memory at most; one more for the moment in which a tile
                that is in use makes room.
        """
        self._load = load
        self._capacity = capacity
        self._lock = threading.Lock()
        self._tiles: LRUCache[int, Future[Map]] = LRUCache(capacity)
        self._wanted: list[int] = []
        self._fetcher: threading.Thread | None = None

    @property
    def loaded(self) -> Sequence[int]:
        """Numbers of the tiles in memory or on their way there."""
        with self._lock:
            return sorted(self._tiles)

    @property
    def capacity(self) -> int:
        """Tiles that are in memory at most."""
        return self._capacity

    def get(self, number: int) -> Map:
        """Return a tile; it is loaded now if it is not there yet.

        Raises:
            DamagedMapError: it cannot be loaded, or was written over since.
        """
        with self._lock:
            future, mine = self._enter(number)
        if mine:
            return self._fill(number, future)
        tile = future.result()
        tile.check()
        return tile

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Fetch tiles in the background, the first ones first; what was asked for before lapses.

        More than fit are not fetched. A tile that cannot be loaded is told when it is needed.
        """
        with self._lock:
            wanted = list(numbers[: self._capacity])
            for number in reversed(wanted):
                self._tiles.get(number)  # what is there already is not let go for the others
            self._wanted = [number for number in wanted if number not in self._tiles]
            if self._wanted and self._fetcher is None:
                self._fetcher = threading.Thread(target=self._fetch, name="tiles", daemon=True)
                self._fetcher.start()

    def settle(self) -> None:
        """Wait until everything that was asked for ahead is there."""
        with self._lock:
            fetcher = self._fetcher
        if fetcher is not None:
            fetcher.join()

    def _fetch(self) -> None:
        while True:
            with self._lock:
                self._wanted = [n for n in self._wanted if n not in self._tiles]
                if not self._wanted:
                    self._fetcher = None
                    return
                number = self._wanted.pop(0)
                future, _ = self._enter(number)
            try:
                self._fill(number, future)
            except Exception:
                # Whoever needs the tile loads it again and is told then.
                continue

    def _enter(self, number: int) -> tuple[Future[Map], bool]:
        """Return a tile's place and whether it is still to be filled; make room for it."""
        future = self._tiles.get(number)
        if future is not None:
            return future, False
        self._tiles[number] = future = Future()
        return future, True

    def _fill(self, number: int, future: Future[Map]) -> Map:
        try:
            tile = self._load(number)
        except BaseException as error:
            with self._lock:
                if self._tiles.get(number) is future:
                    del self._tiles[number]
            future.set_exception(error)
            raise
        future.set_result(tile)
        return tile


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
        convert: what makes rows of a tile what they are here; None: they are.
    """

    store: TileStore
    name: str
    offsets: NDArray[np.int64]
    shift: NDArray[Any] | None
    dtype: np.dtype[Any]
    tail: tuple[int, ...]
    convert: Callable[[NDArray[Any]], NDArray[Any]] | None = None

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
            if self.convert is not None:
                part = self.convert(part)
            result[here] = part if self.shift is None else part + self.shift[tile]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all rows, through every tile; the tiles themselves are let go again."""
        everything = self[:]
        return everything if dtype is None else everything.astype(dtype)
