"""ONNX Runtime called directly on the unmodified model: the reference for our own cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.frames import Array
from edgeinfer.packages import need

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class PlainSession:
    """`InferenceSession.run` with one ready input, and nothing else.

    Args:
        path: an ONNX file with one input of full shape.
        threads: of the session.

    Raises:
        InputError: for a model with several inputs, open shapes or an exotic type.
    """

    def __init__(self, path: Path, threads: int) -> None:
        ort = need("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        fits = len(inputs) == 1 and inputs[0].type in _DTYPES
        if not fits or not all(isinstance(size, int) for size in inputs[0].shape):
            told = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
            raise InputError(f"The plain peer takes one input of full shape; {path} has {told}.")
        values = np.random.default_rng(0).random(inputs[0].shape, np.float32)
        self._feed = {inputs[0].name: values.astype(_DTYPES[inputs[0].type])}

    def run(self) -> list[Array]:
        """Run the model once on the ready input."""
        outputs: list[Array] = self._session.run(None, self._feed)
        return outputs
