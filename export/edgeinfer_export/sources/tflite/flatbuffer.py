"""Read FlatBuffers: tables, vectors and strings by offset, never past the end.

The format: https://flatbuffers.dev/internals/. A table starts with the distance to its vtable,
which lists where each field lies; a field that is not listed has its default.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array

# A vector of scalars may be as long as the file; one of tables not, else a loop of offsets in a
# small file would cost hours.
_MAX_TABLES = 1_000_000


class Damaged(ModelFileError):
    """Offsets that lead out of the file."""


class Table:
    """One table of a FlatBuffer.

    Args:
        data: the whole file.
        at: where the table starts.
    """

    def __init__(self, data: bytes | memoryview, at: int) -> None:
        self._data = data
        self._at = at
        self._vtable = at - _scalar(data, at, "<i")
        self._size = _scalar(data, self._vtable, "<H")

    @classmethod
    def root(cls, data: bytes | memoryview) -> Table:
        """The outermost table of a file."""
        return cls(data, _scalar(data, 0, "<I"))

    def _field(self, slot: int) -> int:
        """Where a field lies, 0 where it is absent."""
        entry = 4 + 2 * slot
        if entry + 2 > self._size:
            return 0
        offset = _scalar(self._data, self._vtable + entry, "<H")
        return self._at + offset if offset else 0

    def number(self, slot: int, code: str = "i", default: int = 0) -> int:
        """An integer field; `code` is struct's: ``b``, ``B``, ``i``, ``I``, ``q``, ``Q``."""
        at = self._field(slot)
        return _scalar(self._data, at, f"<{code}") if at else default

    def real(self, slot: int, default: float = 0.0) -> float:
        """A float32 field."""
        at = self._field(slot)
        return float(_unpack(self._data, at, "<f")) if at else default

    def flag(self, slot: int, default: bool = False) -> bool:
        """A bool field."""
        return bool(self.number(slot, "b", int(default)))

    def table(self, slot: int) -> Table | None:
        """A table that a field points to."""
        at = self._field(slot)
        return Table(self._data, at + _scalar(self._data, at, "<I")) if at else None

    def text(self, slot: int) -> str:
        """A string field, empty where it is absent."""
        return bytes(self.vector(slot, "u1")).decode("utf-8", errors="replace")

    def vector(self, slot: int, dtype: str) -> Array:
        """A vector of scalars, as a view of the file; empty where it is absent."""
        start, count = self._vector(slot)
        kind = np.dtype(dtype).newbyteorder("<")
        if start + count * kind.itemsize > len(self._data):
            raise Damaged(_cut(start + count * kind.itemsize, len(self._data)))
        return np.frombuffer(self._data, kind, count, start) if count else np.empty(0, kind)

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return self._field(slot) != 0

    def tables(self, slot: int) -> Iterator[Table]:
        """The tables of a vector of tables."""
        start, count = self._vector(slot)
        if count > _MAX_TABLES or start + 4 * count > len(self._data):
            raise Damaged(_cut(start + 4 * count, len(self._data)))
        for number in range(count):
            at = start + 4 * number
            yield Table(self._data, at + _scalar(self._data, at, "<I"))

    def _vector(self, slot: int) -> tuple[int, int]:
        """Where a vector's first entry lies, and how many it has."""
        at = self._field(slot)
        if not at:
            return 0, 0
        start = at + _scalar(self._data, at, "<I")
        return start + 4, _scalar(self._data, start, "<I")


def _scalar(data: bytes | memoryview, at: int, code: str) -> int:
    return int(_unpack(data, at, code))


def _unpack(data: bytes | memoryview, at: int, code: str) -> float:
    if at < 0 or at + struct.calcsize(code) > len(data):
        raise Damaged(_cut(at, len(data)))
    value: float = struct.unpack_from(code, data, at)[0]
    return value


def _cut(at: int, size: int) -> str:
    return f"it points to byte {at}, and has {size}: it is cut off or damaged"
