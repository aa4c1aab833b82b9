"""Encoded references kept on the device, least recently used out first, bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

from deviloc_ros.models.published.reference import EncodedReference


class ReferenceCache:
    """Keeps encoded references between queries; for one thread.

    A reference of 864 x 864 takes 107 MB and 7 kB for each observed point, half of the former in
    half precision. The caller's own query and the references of the running match are not counted.
    """

    def __init__(self, max_bytes: int) -> None:
        """Make an empty cache that never holds more than `max_bytes`; 0 keeps nothing."""
        if max_bytes < 0:
            raise ValueError(f"max_bytes must not be negative, got {max_bytes}")
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, EncodedReference] = OrderedDict()
        self._num_bytes = 0

    def __len__(self) -> int:
        """Return the number of references held."""
        return len(self._entries)

    @property
    def num_bytes(self) -> int:
        """Memory of the references held."""
        return self._num_bytes

    def get(self, key: Hashable, encode: Callable[[], EncodedReference]) -> EncodedReference:
        """Return the reference of a key, encoding it where it is not held.

        Args:
            key: names the image and its network size, which follows the query's.
            encode: makes the reference.
        """
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        reference = encode()
        size = reference.num_bytes
        if size <= self._max_bytes:
            while self._num_bytes + size > self._max_bytes:
                _, oldest = self._entries.popitem(last=False)
                self._num_bytes -= oldest.num_bytes
            self._entries[key] = reference
            self._num_bytes += size
        return reference
