"""The tiles of a map that are in memory: few at a time, the neighbouring ones fetched ahead."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future

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
        self._tiles: OrderedDict[int, Future[Map]] = OrderedDict()
        self._wanted: list[int] = []
        self._fetcher: threading.Thread | None = None

    @property
    def loaded(self) -> Sequence[int]:
        """Numbers of the tiles in memory or on their way there, least recently used first."""
        with self._lock:
            return list(self._tiles)

    @property
    def capacity(self) -> int:
        """Tiles that are in memory at most."""
        return self._capacity

    def get(self, number: int) -> Map:
        """Return a tile; it is loaded now if it is not there yet.

        Raises:
            DamagedMapError: it cannot be loaded.
        """
        with self._lock:
            future, mine = self._enter(number)
        return self._fill(number, future) if mine else future.result()

    def prefetch(self, numbers: Sequence[int]) -> None:
        """Fetch tiles in the background, the first ones first; what was asked for before lapses.

        More than fit are not fetched. A tile that cannot be loaded is told when it is needed.
        """
        with self._lock:
            wanted = list(numbers[: self._capacity])
            for number in reversed(wanted):
                if number in self._tiles:
                    self._tiles.move_to_end(number)
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
            self._tiles.move_to_end(number)
            return future, False
        self._tiles[number] = future = Future()
        while len(self._tiles) > self._capacity:
            self._tiles.popitem(last=False)
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
