"""Write small TFLite files by hand: FlatBuffers, without the package of that name."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Fields = Mapping[int, Any]
TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5,
    "int16": 7, "int8": 9,
}  # fmt: skip
CODES = {
    "ADD": 0, "AVERAGE_POOL_2D": 1, "CONCATENATION": 2, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 4,
    "FULLY_CONNECTED": 9, "RELU": 19, "RESHAPE": 22, "SOFTMAX": 25, "CUSTOM": 32, "SVDF": 27,
    "SPLIT": 49, "GELU": 150,
}  # fmt: skip


class Scalar:
    """A number of a given width in a table."""

    def __init__(self, code: str, value: float) -> None:
        self.data = struct.pack("<" + code, value)


def write(root: Fields, mark: bytes = b"TFL3") -> bytes:
    """A FlatBuffer: each table before what it points to, so that every offset is positive."""
    data = bytearray(8)
    data[4:8] = mark
    place = _table(data, root)
    data[0:4] = struct.pack("<I", place)
    return bytes(data)


def _table(data: bytearray, fields: Fields) -> int:
    _align(data, 8)
    count = max(fields, default=-1) + 1
    vtable = len(data)
    data.extend(bytes(4 + 2 * count))
    _align(data, 8)
    start = len(data)
    data.extend(struct.pack("<i", start - vtable))
    _align(data, 8)
    later = []
    for slot, value in sorted(fields.items()):
        body = value.data if isinstance(value, Scalar) else bytes(4)
        _align(data, len(body))
        struct.pack_into("<H", data, vtable + 4 + 2 * slot, len(data) - start)
        if not isinstance(value, Scalar):
            later.append((len(data), value))
        data.extend(body)
    struct.pack_into("<HH", data, vtable, 4 + 2 * count, len(data) - start)
    for at, value in later:
        struct.pack_into("<I", data, at, _child(data, value) - at)
    return start


def _child(data: bytearray, value: Any) -> int:
    if isinstance(value, Mapping):
        return _table(data, value)
    if isinstance(value, str):
        text = value.encode()
        _align(data, 4)
        start = len(data)
        data.extend(struct.pack("<I", len(text)) + text + b"\0")
        return start
    if isinstance(value, np.ndarray):
        while (len(data) + 4) % 16:
            data.append(0)
        start = len(data)
        data.extend(struct.pack("<I", value.size) + value.tobytes())
        return start
    _align(data, 4)
    start = len(data)
    data.extend(struct.pack("<I", len(value)) + bytes(4 * len(value)))
    for number, item in enumerate(value):
        at = start + 4 + 4 * number
        struct.pack_into("<I", data, at, _child(data, item) - at)
    return start


def _align(data: bytearray, size: int) -> None:
    while len(data) % size:
        data.append(0)


def tensor(
    name: str,
    shape: Sequence[int],
    dtype: str = "float32",
    buffer: int = 0,
    scale: Sequence[float] = (),
    zero_point: Sequence[int] = (),
    axis: int = 0,
    signature: Sequence[int] = (),
) -> Fields:
    """A tensor; its constant lies in that buffer, 0 for none."""
    fields: dict[int, Any] = {
        0: np.array(shape, "<i4"),
        1: Scalar("b", TYPES[dtype]),
        2: Scalar("I", buffer),
        3: name,
    }
    if scale:
        fields[4] = {
            2: np.array(scale, "<f4"),
            3: np.array(zero_point, "<i8"),
            6: Scalar("i", axis),
        }
    if signature:
        fields[7] = np.array(signature, "<i4")
    return fields


def operator(
    code: int, inputs: Sequence[int], outputs: Sequence[int], options: Fields | None = None
) -> Fields:
    """An operator; `code` counts in the model's own list."""
    fields: dict[int, Any] = {
        0: Scalar("I", code),
        1: np.array(inputs, "<i4"),
        2: np.array(outputs, "<i4"),
    }
    if options is not None:
        fields[4] = options
    return fields


def model(
    codes: Sequence[str],
    tensors: Sequence[Fields],
    operators: Sequence[Fields],
    ends: tuple[Sequence[int], Sequence[int]],
    buffers: Sequence[Any] = (),
    version: int = 3,
) -> bytes:
    """A file with one graph; custom operators are named ``CUSTOM:name``."""
    kinds = []
    for code in codes:
        kind, _, custom = code.partition(":")
        number = CODES[kind]
        entry: dict[int, Any] = {0: Scalar("b", min(number, 127)), 3: Scalar("i", number)}
        if custom:
            entry[1] = custom
        kinds.append(entry)
    graph = {
        0: tensors,
        1: np.array(ends[0], "<i4"),
        2: np.array(ends[1], "<i4"),
        3: operators,
    }
    stored = [{} if b is None else {0: np.frombuffer(b.tobytes(), "u1")} for b in (None, *buffers)]
    return write({0: Scalar("I", version), 1: kinds, 2: [graph], 4: stored})


def conv_model(random: np.random.Generator) -> tuple[bytes, dict[str, Any]]:
    """A padded convolution with ReLU6 over (1, 5, 6, 3), and its weights."""
    w = random.normal(0, 0.5, (4, 3, 3, 3)).astype(np.float32)
    b = random.normal(0, 0.5, 4).astype(np.float32)
    data = model(
        ["CONV_2D"],
        [
            tensor("x", (1, 5, 6, 3)),
            tensor("w", w.shape, buffer=1),
            tensor("b", b.shape, buffer=2),
            tensor("y", (1, 3, 3, 4)),
        ],
        [
            operator(
                0,
                (0, 1, 2),
                (3,),
                {0: Scalar("b", 0), 1: Scalar("i", 2), 2: Scalar("i", 2), 3: Scalar("b", 3)},
            )
        ],
        ((0,), (3,)),
        (w, b),
    )
    return data, {"w": w, "b": b}
