"""The child of `vet`, by ONNX Runtime's C library alone: importing its Python package takes longer.

It runs as a file, without site packages: `vet_child_c.py LIBRARY MODEL`. The C API is a table of
functions that only grows (`OrtApi` in onnxruntime_c_api.h), so a place in it means the same in
every version.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import signal
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Version 1 of the table has every function that is used here.
_API_VERSION = 1
_FATAL, _ONE_THREAD = 4, 1
_LIMIT_S = 120
# Place in the table, and the arguments; each returns a status, null where all went well.
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "CreateEnv": (3, c_int, c_char_p, POINTER(c_void_p)),
    "CreateSession": (7, c_void_p, c_char_p, c_void_p, POINTER(c_void_p)),
    "Run": (
        *(9, c_void_p, c_void_p, POINTER(c_char_p), POINTER(c_void_p), c_size_t),
        *(POINTER(c_char_p), c_size_t, POINTER(c_void_p)),
    ),
    "CreateSessionOptions": (10, POINTER(c_void_p)),
    "SetSessionLogSeverityLevel": (22, c_void_p, c_int),
    "SetIntraOpNumThreads": (24, c_void_p, c_int),
    "SetInterOpNumThreads": (25, c_void_p, c_int),
    "SessionGetInputCount": (30, c_void_p, POINTER(c_size_t)),
    "SessionGetOutputCount": (31, c_void_p, POINTER(c_size_t)),
    "SessionGetInputTypeInfo": (33, c_void_p, c_size_t, POINTER(c_void_p)),
    "SessionGetInputName": (36, c_void_p, c_size_t, c_void_p, POINTER(c_char_p)),
    "SessionGetOutputName": (37, c_void_p, c_size_t, c_void_p, POINTER(c_char_p)),
    "CreateTensorAsOrtValue": (48, c_void_p, POINTER(c_int64), c_size_t, c_int, POINTER(c_void_p)),
    "GetTensorMutableData": (51, c_void_p, POINTER(c_void_p)),
    "CastTypeInfoToTensorInfo": (55, c_void_p, POINTER(c_void_p)),
    "GetTensorElementType": (60, c_void_p, POINTER(c_int)),
    "GetDimensionsCount": (61, c_void_p, POINTER(c_size_t)),
    "GetDimensions": (62, c_void_p, POINTER(c_int64), c_size_t),
    "GetAllocatorWithDefaultOptions": (78, POINTER(c_void_p)),
}
# ONNXTensorElementDataType to bytes: float, u8, i8, u16, i16, i32, i64, bool, half, double, u32,
# u64. Strings and what is wider than these are not run.
_SIZES = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 12: 4, 13: 8}


class Refused(Exception):
    """What ONNX Runtime refuses politely."""


class Api:
    """The functions of the table, by name; a status that is not null is raised."""

    def __init__(self, library: str) -> None:
        self._library = ctypes.CDLL(library)
        base = self._library.OrtGetApiBase
        base.restype = POINTER(c_void_p)
        get = ctypes.CFUNCTYPE(c_void_p, c_uint32)(base()[0])
        table = ctypes.cast(get(_API_VERSION), POINTER(c_void_p))
        self._message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(table[2])
        self._functions = {
            name: ctypes.CFUNCTYPE(c_void_p, *arguments)(table[place])
            for name, (place, *arguments) in _FUNCTIONS.items()
        }

    def __call__(self, name: str, *arguments: object) -> None:
        status = self._functions[name](*arguments)
        if status:
            raise Refused(self._message(status).decode(errors="replace"))

    def new(self, name: str, *arguments: object) -> c_void_p:
        """What a function that fills in a pointer makes."""
        made = c_void_p()
        self(name, *arguments, byref(made))
        return made


def main() -> None:
    """Open the file that is named, and run it once on zeros where its shapes are known."""
    # Whoever asked may have forgotten it.
    signal.alarm(_LIMIT_S)
    answer: dict[str, object] = {"opened": False, "error": None}
    try:
        api = Api(sys.argv[1])
        environment = api.new("CreateEnv", _FATAL, b"vet")
        settings = api.new("CreateSessionOptions")
        api("SetSessionLogSeverityLevel", settings, _FATAL)
        api("SetIntraOpNumThreads", settings, _ONE_THREAD)
        api("SetInterOpNumThreads", settings, _ONE_THREAD)
        session = api.new("CreateSession", environment, os.fsencode(sys.argv[2]), settings)
        answer["opened"] = True
        _say("opened")
        sys.stdin.readline()
        _run(api, session)
    except Refused as error:
        # The parent meets it itself.
        answer["error"] = str(error)
    if not answer["opened"]:
        _say("refused")
    _say(json.dumps(answer))
    # Destructors of a hostile model are none of ours.
    os._exit(0)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _run(api: Api, session: c_void_p) -> None:
    allocator = api.new("GetAllocatorWithDefaultOptions")
    inputs = _names(api, session, allocator, "Input")
    outputs = _names(api, session, allocator, "Output")
    values = [_zeros(api, session, allocator, index) for index in range(len(inputs))]
    if None in values:
        return
    made = (c_void_p * len(outputs))()
    api(
        *("Run", session, None),
        *((c_char_p * len(inputs))(*inputs), (c_void_p * len(inputs))(*values), len(inputs)),
        *((c_char_p * len(outputs))(*outputs), len(outputs), made),
    )


def _names(api: Api, session: c_void_p, allocator: c_void_p, what: str) -> list[bytes | None]:
    count = c_size_t()
    api(f"SessionGet{what}Count", session, byref(count))
    found = []
    for index in range(count.value):
        name = c_char_p()
        api(f"SessionGet{what}Name", session, index, allocator, byref(name))
        found.append(name.value)
    return found


def _zeros(api: Api, session: c_void_p, allocator: c_void_p, index: int) -> c_void_p | None:
    """Zeros for an input, None where its shape or type is not known; the first may be a batch."""
    kind = api.new("SessionGetInputTypeInfo", session, index)
    tensor = api.new("CastTypeInfoToTensorInfo", kind)
    if not tensor:
        return None
    element, rank = c_int(), c_size_t()
    api("GetTensorElementType", tensor, byref(element))
    api("GetDimensionsCount", tensor, byref(rank))
    shape = (c_int64 * rank.value)()
    api("GetDimensions", tensor, shape, rank)
    if rank.value and shape[0] < 0:
        shape[0] = 1
    if element.value not in _SIZES or any(size < 0 for size in shape):
        return None
    value = api.new("CreateTensorAsOrtValue", allocator, shape, rank, element)
    size = math.prod(shape) * _SIZES[element.value]
    if size:
        ctypes.memset(api.new("GetTensorMutableData", value), 0, size)
    return value


if __name__ == "__main__":
    main()
