"""Protocol Buffers' wire format, read without generated code.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_VARINT_BYTES = 10
Value = int | memoryview


class Message:
    """The fields of one message, by number; nested messages are read when they are asked for."""

    def __init__(self, data: bytes | memoryview, where: str) -> None:
        """Split a message into its fields.

        Args:
            where: what it is, for error messages: ``net.caffemodel``.

        Raises:
            ModelFileError: if it is cut off or no message.
        """
        self.where = where
        self._fields: dict[int, list[tuple[int, Value]]] = {}
        for number, kind, value in _split(memoryview(data), where):
            self._fields.setdefault(number, []).append((kind, value))

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    @property
    def numbers(self) -> set[int]:
        """Which fields there are."""
        return set(self._fields)

    def messages(self, number: int, where: str | None = None) -> list[Message]:
        """A repeated field of messages."""
        return [Message(data, where or self.where) for data in self.blobs(number)]

    def message(self, number: int) -> Message:
        """A message; an empty one where the field is absent."""
        found = self.messages(number)
        return found[-1] if found else Message(b"", self.where)

    def blobs(self, number: int) -> list[memoryview]:
        """A repeated field of bytes."""
        found = []
        for kind, value in self._fields.get(number, ()):
            if kind != _BYTES or isinstance(value, int):
                raise self._foreign(number)
            found.append(value)
        return found

    def strings(self, number: int) -> list[str]:
        """A repeated field of text."""
        return [bytes(data).decode("utf-8", "replace") for data in self.blobs(number)]

    def string(self, number: int, default: str = "") -> str:
        """A text."""
        found = self.strings(number)
        return found[-1] if found else default

    def ints(self, number: int) -> list[int]:
        """A repeated field of signed integers, packed or not."""
        found = []
        for kind, value in self._fields.get(number, ()):
            if isinstance(value, int):
                found.append(value)
            elif kind == _BYTES:
                place = 0
                while place < len(value):
                    item, place = _varint(value, place, self.where)
                    found.append(item)
        return [value - (1 << 64) if value >= 1 << 63 else value for value in found]

    def integer(self, number: int, default: int = 0) -> int:
        """A signed integer."""
        found = self.ints(number)
        return found[-1] if found else default

    def floats(self, number: int, double: bool = False) -> Array:
        """A repeated field of float32, or of float64, packed or not."""
        dtype, width = ("<f8", _FIXED64) if double else ("<f4", _FIXED32)
        parts = []
        for kind, value in self._fields.get(number, ()):
            if isinstance(value, int):
                if kind != width:
                    raise self._foreign(number)
                parts.append(struct.pack("<q" if double else "<i", value))
            elif len(value) % np.dtype(dtype).itemsize:
                raise self._foreign(number)
            else:
                parts.append(bytes(value))
        return np.frombuffer(b"".join(parts), dtype)

    def number(self, number: int, default: float = 0.0) -> float:
        """A float32."""
        found = self.floats(number)
        return float(found[-1]) if len(found) else default

    def _foreign(self, number: int) -> ModelFileError:
        return ModelFileError(
            f"{self.where} is damaged, or no model of this kind: its field {number} has another "
            f"type. Copy or save it again."
        )


def _split(data: memoryview, where: str) -> Iterator[tuple[int, int, Value]]:
    place = 0
    while place < len(data):
        key, place = _varint(data, place, where)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise _cut(where, place)
        if kind == _VARINT:
            value, place = _varint(data, place, where)
            yield number, kind, value
        elif kind in (_FIXED32, _FIXED64):
            width = 4 if kind == _FIXED32 else 8
            if place + width > len(data):
                raise _cut(where, place)
            form = "<i" if kind == _FIXED32 else "<q"
            yield number, kind, struct.unpack_from(form, data, place)[0]
            place += width
        elif kind == _BYTES:
            size, place = _varint(data, place, where)
            if place + size > len(data):
                raise _cut(where, place)
            yield number, kind, data[place : place + size]
            place += size
        else:
            raise _cut(where, place)


def _varint(data: memoryview, place: int, where: str) -> tuple[int, int]:
    value = shift = 0
    for byte in data[place : place + _MAX_VARINT_BYTES]:
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << 64) - 1), place
        shift += 7
    raise _cut(where, place)


def _cut(where: str, place: int) -> ModelFileError:
    return ModelFileError(
        f"{where} is cut off or damaged (byte {place} of a message): copy or save it again."
    )
