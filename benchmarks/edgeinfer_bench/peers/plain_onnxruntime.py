"""ONNX Runtime called directly on the unmodified model: the references for our own cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.frames import Array
from edgeinfer.packages import need, opencv

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class PlainSession:
    """`InferenceSession.run` on one ready input, or on a picture as a script would prepare it.

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
        self._name, self._shape = inputs[0].name, tuple(inputs[0].shape)
        values = np.random.default_rng(0).random(self._shape, np.float32)
        self._dtype = _DTYPES[inputs[0].type]
        self._feed = {self._name: values.astype(self._dtype)}
        self._cv2 = opencv()

    def run(self) -> list[Array]:
        """Run the model once on the ready input."""
        outputs: list[Array] = self._session.run(None, self._feed)
        return outputs

    def run_picture(self, picture: Array) -> list[Array]:
        """Run the model once on a picture, prepared as scripts and tutorials do.

        Args:
            picture: `(H, W, 3)` uint8 BGR; it is stretched to the input `(1, 3, H, W)`.
        """
        height, width = self._shape[2:]
        resized = self._cv2.resize(picture, (width, height))
        values = self._cv2.cvtColor(resized, self._cv2.COLOR_BGR2RGB).astype(np.float32) / 255
        values = np.ascontiguousarray(values.transpose(2, 0, 1)[None], self._dtype)
        outputs: list[Array] = self._session.run(None, {self._name: values})
        return outputs
