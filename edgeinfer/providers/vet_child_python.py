"""The child of `vet` where ONNX Runtime came without its C library: open the file, run it once.

It runs as a file, so that it imports ONNX Runtime and nothing else.
"""

from __future__ import annotations

import json
import signal
import sys

import numpy as np
import onnxruntime

_LIMIT_S = 120
_DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


def main() -> None:
    """Open the file that is named, and run it once where its shapes are known."""
    onnxruntime.set_default_logger_severity(4)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    # Whoever asked may have forgotten it.
    signal.alarm(_LIMIT_S)
    answer: dict[str, object] = {"opened": False, "error": None}
    try:
        session = onnxruntime.InferenceSession(
            sys.argv[1], settings, providers=["CPUExecutionProvider"]
        )
        answer["opened"] = True
        _say("opened")
        sys.stdin.readline()
        feed = {item.name: _zeros(item) for item in session.get_inputs()}
        if all(array is not None for array in feed.values()):
            session.run(None, feed)
    except Exception as error:
        # What ONNX Runtime refuses politely, the parent meets itself.
        answer["error"] = str(error)
    if not answer["opened"]:
        _say("refused")
    _say(json.dumps(answer))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _zeros(item: object) -> object:
    """Zeros for an input, None where its shape or type is not known; the first may be a batch."""
    shape = list(item.shape)  # type: ignore[attr-defined]
    if shape and not isinstance(shape[0], int):
        shape[0] = 1
    known = all(isinstance(size, int) for size in shape)
    dtype = _DTYPES.get(item.type)  # type: ignore[attr-defined]
    return np.zeros(shape, dtype) if known and dtype is not None else None


if __name__ == "__main__":
    main()
