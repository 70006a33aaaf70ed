"""Does the same frame give the same output all through the run?"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeinfer.results import Payload, Result

# Reading this much costs about ten microseconds; a larger array is read in even steps.
_MAX_BYTES = 1 << 16
# Frames whose first output is remembered: enough to notice a change, bounded for endless sources.
_MAX_FRAMES = 256


def digest(value: Payload) -> int:
    """A checksum of a result's value (CRC-32); equal values have equal checksums."""
    if not dataclasses.is_dataclass(value):
        return zlib.crc32(repr(value.to_dict()).encode())
    checksum = 0
    for name in value.__dataclass_fields__:
        checksum = _add(checksum, getattr(value, name))
    return checksum


def _add(checksum: int, item: Any) -> int:
    if isinstance(item, np.ndarray):
        if item.nbytes > _MAX_BYTES:
            item = item.ravel()[:: -(-item.nbytes // _MAX_BYTES)]
        return zlib.crc32(np.ascontiguousarray(item).data, checksum)
    if isinstance(item, Mapping):
        for value in item.values():
            checksum = _add(checksum, value)
        return checksum
    if isinstance(item, tuple):  # labels: the same object in every result
        return zlib.crc32(len(item).to_bytes(4, "little"), checksum)
    return zlib.crc32(repr(item).encode(), checksum)


class OutputWatch:
    """Remembers the first output for each frame and compares every later one with it."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, int], int] = {}
        self.compared = 0
        self.changed = 0

    def see(self, result: Result[Payload]) -> None:
        """Look at one result; called between frames, outside everything timed."""
        key = (result.frame.stream, result.frame.index)
        known = self._first.get(key)
        if known is not None:
            self.compared += 1
            self.changed += digest(result.value) != known
        elif len(self._first) < _MAX_FRAMES:
            self._first[key] = digest(result.value)

    def compare(self, before: Result[Payload], after: Result[Payload]) -> None:
        """Compare two results for the same frame."""
        self.compared += 1
        self.changed += digest(before.value) != digest(after.value)
