"""Read MXNet's parameter files: a list of arrays and their names.

Source: NDArray::Save and NDArray::Load of https://github.com/apache/mxnet, src/ndarray/ndarray.cc.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.files import read_bytes

MAGIC = struct.pack("<Q", 0x112)
# Marks of an array's form; without one of these, the number is that of dimensions.
_FORM_1, _FORM_2, _FORM_3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8", 7: "?"}
_MAX_DIMENSIONS, _MAX_NAME = 32, 4096


def read_params(path: Path) -> dict[str, Array]:
    """Arrays by name, without the marks ``arg:`` and ``aux:``; numbers are float32.

    Raises:
        ModelFileError: if it is missing, cut off, something else, or holds sparse arrays.
    """
    reader = _Reader(read_bytes(path), path.name)
    if reader.raw(8) != MAGIC:
        raise ModelFileError(f"{path} is no MXNet parameter file: it begins otherwise.")
    reader.number("Q")
    count = reader.number("Q")
    arrays = [reader.array(number) for number in range(count)]
    names = [reader.name() for _ in range(reader.number("Q"))]
    if len(names) != len(arrays):
        raise ModelFileError(
            f"{path.name} has {len(arrays)} arrays and {len(names)} names: it holds a list of "
            f"arrays, no parameters of a network."
        )
    found = {}
    for name, array in zip(names, arrays, strict=True):
        if array is not None:
            found[name.partition(":")[2] or name] = array
    return found


class _Reader:
    """A place in the file."""

    def __init__(self, data: bytes, where: str) -> None:
        self._data, self._where, self._place = data, where, 0

    def raw(self, count: int) -> bytes:
        if count > len(self._data) - self._place:
            raise ModelFileError(
                f"{self._where} is cut off or damaged: byte {self._place} begins something of "
                f"{count} bytes, and {len(self._data) - self._place} are left. Copy it again."
            )
        self._place += count
        return self._data[self._place - count : self._place]

    def number(self, form: str) -> int:
        return int(struct.unpack(f"<{form}", self.raw(struct.calcsize(f"<{form}")))[0])

    def name(self) -> str:
        size = self.number("Q")
        if size > _MAX_NAME:
            raise ModelFileError(f"{self._where} is damaged: a name of {size} bytes.")
        return self.raw(size).decode("utf-8", "replace")

    def array(self, number: int) -> Array | None:
        """One array; None for one that was never filled."""
        mark = self.number("I")
        form, rank = "q", mark
        if mark in (_FORM_2, _FORM_3):
            kind = self.number("i")
            if kind not in (0, -1):
                raise ModelFileError(
                    f"{self._where}: array {number} is sparse (storage {kind}); only dense ones "
                    f"are supported."
                )
            rank = self.number("i")
        elif mark == _FORM_1:
            rank = self.number("I")
        else:
            form = "I"
        if not 0 <= rank <= _MAX_DIMENSIONS:
            raise ModelFileError(f"{self._where} is damaged: array {number} has {rank} dimensions.")
        shape = [self.number(form) for _ in range(rank)]
        if rank == 0 and mark != _FORM_3:
            return None
        self.raw(8)  # the device that it was on
        flag = self.number("i")
        if flag not in _DTYPES or any(size < 0 for size in shape):
            raise ModelFileError(
                f"{self._where} is damaged, or newer: array {number} has the type {flag} and the "
                f"shape {shape}."
            )
        dtype = np.dtype(_DTYPES[flag])
        values = np.frombuffer(self.raw(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        return values.astype(np.float32) if dtype.kind == "f" else values
