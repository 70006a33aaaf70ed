"""A TFLite file as Python values: tensors, operators and what they hold."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.tflite.flatbuffer import Damaged, Table
from edgeinfer_export.sources.tflite.schema import (
    CUSTOM,
    IDENTIFIER,
    ODD_TYPES,
    TYPES,
    builtin_name,
)


@dataclass(frozen=True, eq=False)
class Quantization:
    """real = scale * (stored - zero_point), per tensor or along one axis."""

    scale: Array
    zero_point: Array
    axis: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: not unique in every file.
        dtype: numpy's name, or one that numpy does not have (``string``).
        shape: -1 where a size is left open.
        data: the stored bytes of a constant, else None.
        quantization: None where it holds plain numbers.
        sparse: whether its data are packed as sparse.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Array | None
    quantization: Quantization | None
    sparse: bool = False

    @functools.cached_property
    def stored(self) -> Array | None:
        """A constant as it is stored, in the tensor's shape; None for what is computed."""
        if self.data is None:
            return None
        if self.dtype == "int4":
            # Two in a byte, the low half first.
            pairs = np.stack([self.data & 15, self.data >> 4], -1).reshape(-1).astype(np.int8)
            values = np.where(pairs > 7, pairs - 16, pairs).astype(np.int8)[: math.prod(self.shape)]
        else:
            kind = np.dtype(self.dtype).newbyteorder("<")
            values = self.data.view(np.uint8)[: math.prod(self.shape) * kind.itemsize].view(kind)
            values = values.astype(self.dtype)
        return values.reshape(self.shape)

    @property
    def quantized(self) -> bool:
        """Whether it holds small integers that stand for real numbers."""
        return self.quantization is not None and self.dtype in ("int8", "uint8", "int16", "int4")


@dataclass(frozen=True, eq=False)
class Operator:
    """One operator; an input of -1 is left out.

    Attributes:
        place: number in the graph and the first output's name, for people.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Table | None
    place: str


@dataclass(frozen=True, eq=False)
class TFLiteModel:
    """The graph that runs, in running order."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    version: str


def looks_like_tflite(head: bytes) -> bool:
    """Whether these first bytes are a TFLite file's."""
    return head[4:8] == IDENTIFIER


def parse(data: bytes) -> TFLiteModel:
    """Read a file.

    Raises:
        ModelFileError: if it is something else, cut off, or points past its end.
    """
    if not looks_like_tflite(data[:8]):
        raise ModelFileError("it lacks the mark TFL3 of a TFLite file")
    try:
        return _parse(data)
    except (ValueError, IndexError, OverflowError) as error:
        raise Damaged(f"it contradicts itself ({error})") from error


def _parse(data: bytes) -> TFLiteModel:
    root = Table.root(data)
    version = root.number(0, "I")
    if version != 3:
        raise ModelFileError(f"it has version {version} of the format; this reads version 3")
    buffers = [_buffer(data, table) for table in root.tables(4)]
    codes = [_code(table) for table in root.tables(1)]
    graphs = list(root.tables(2))
    if not graphs:
        raise Damaged("it holds no graph")
    main = graphs[0]
    tensors = tuple(_tensor(table, buffers) for table in main.tables(0))
    operators = tuple(
        _operator(number, table, codes, tensors) for number, table in enumerate(main.tables(3))
    )
    inputs, outputs = _indexes(main, 1), _indexes(main, 2)
    for index in (*inputs, *outputs):
        _check(index, len(tensors))
    if not operators or not outputs:
        raise Damaged("its graph has no operators or no outputs")
    return TFLiteModel(tensors, operators, inputs, outputs, str(version))


def _buffer(data: bytes, table: Table) -> Array | None:
    """The bytes of a constant; big models keep them behind the FlatBuffer."""
    offset, size = table.number(1, "Q"), table.number(2, "Q")
    if offset > 1 and size:
        if offset + size > len(data):
            raise Damaged(f"weights reach to byte {offset + size}, and the file has {len(data)}")
        return np.frombuffer(data, np.uint8, size, offset)
    stored = table.vector(0, "u1")
    return stored if stored.size else None


def _code(table: Table) -> str:
    # Newer files say it in a wider field.
    number = max(table.number(0, "b"), table.number(3, "i"))
    if number == CUSTOM:
        return f"CUSTOM:{table.text(1)}"
    return builtin_name(number)


def _tensor(table: Table, buffers: list[Array | None]) -> Tensor:
    kind = table.number(1, "b")
    name = table.text(3)
    dtype = TYPES.get(kind) or ODD_TYPES.get(kind, f"type {kind}")
    shape = tuple(int(size) for size in table.vector(0, "i4"))
    signature = tuple(int(size) for size in table.vector(7, "i4"))
    index = table.number(2, "I")
    data = buffers[_check(index, len(buffers))] if index else None
    sparse = table.has(6)
    if data is not None and not sparse:
        bits = 4 if dtype == "int4" else 8 * np.dtype(dtype).itemsize if kind in TYPES else 0
        if min(shape, default=0) < 0 or (data.size * 8 < math.prod(shape) * bits):
            raise Damaged(
                f"the tensor '{name}' is {list(shape)} {dtype}, and {data.size} bytes are stored"
            )
    opened = signature if len(signature) == len(shape) and data is None else shape
    return Tensor(
        name=name,
        dtype=dtype,
        shape=opened,
        data=data,
        # Training leaves ranges on float tensors, too: they are no quantization.
        quantization=_quantization(table.table(4), shape, name) if "int" in dtype else None,
        sparse=sparse,
    )


def _quantization(table: Table | None, shape: tuple[int, ...], name: str) -> Quantization | None:
    if table is None:
        return None
    scale = table.vector(2, "f4").astype(np.float32)
    if scale.size == 0 or not np.all(scale > 0):
        return None
    zero_point = table.vector(3, "i8").astype(np.int64)
    if zero_point.size not in (0, 1, scale.size):
        raise Damaged(f"'{name}' has {scale.size} scales and {zero_point.size} zero points")
    if zero_point.size != scale.size:
        zero_point = np.full(scale.size, zero_point[0] if zero_point.size else 0)
    axis = table.number(6, "i")
    if scale.size > 1 and (not 0 <= axis < len(shape) or shape[axis] != scale.size):
        raise Damaged(f"'{name}' is {list(shape)} and has {scale.size} scales on axis {axis}")
    return Quantization(scale, zero_point, axis)


def _operator(number: int, table: Table, codes: list[str], tensors: tuple[Tensor, ...]) -> Operator:
    inputs, outputs = _indexes(table, 1), _indexes(table, 2)
    for index in outputs:
        _check(index, len(tensors))
    for index in inputs:
        if index != -1:
            _check(index, len(tensors))
    name = codes[_check(table.number(0, "I"), len(codes))]
    made = f", which makes '{tensors[outputs[0]].name}'" if outputs else ""
    return Operator(name, inputs, outputs, table.table(4), f"operator {number}{made}")


def _indexes(table: Table, slot: int) -> tuple[int, ...]:
    return tuple(int(index) for index in table.vector(slot, "i4"))


def _check(index: int, count: int) -> int:
    if not 0 <= index < count:
        raise Damaged(f"it refers to number {index} of {count}")
    return index
