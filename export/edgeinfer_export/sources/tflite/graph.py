"""The ONNX graph under construction: names, constants, layouts and quantization.

TFLite's pictures are NHWC, ONNX's convolutions want NCHW. A tensor of four axes is therefore kept
in the layout that it was made in, and transposed only where somebody needs the other one: between
two convolutions nothing is transposed, whatever stands between them element by element.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeinfer.errors import ModelFileError
from edgeinfer.frames import Array
from edgeinfer_export.sources.tflite.model import Operator, Tensor, TFLiteModel

if TYPE_CHECKING:
    import onnx

PLAIN, NCHW = "plain", "nchw"
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
OPSET, IR_VERSION = 17, 8


class Unsupported(ModelFileError):
    """An operator, or a form of one, that this version does not convert."""


class Graph:
    """What is emitted so far.

    Args:
        model: what is converted.
    """

    def __init__(self, model: TFLiteModel) -> None:
        self.tensors = model.tensors
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, Array] = {}
        self.notes: dict[str, None] = {}  # in order, each once
        self.operator: Operator | None = None
        self.rounds = False  # whether kernels of the source round where this graph does not
        self.folded: dict[int, Array] = {}  # constants that operators on constants made
        self._values: dict[int, dict[str, str]] = {}
        self._taken: set[str] = set()
        self._constants: dict[bytes, str] = {}

    # Tensors of the source

    def tensor(self, index: int) -> Tensor:
        """The source's tensor."""
        return self.tensors[index]

    def constant(self, index: int) -> Array | None:
        """A constant's real values, None for what is computed."""
        if index in self.folded:
            return self.folded[index]
        tensor = self.tensors[index]
        stored = tensor.stored
        if stored is None:
            return None
        counts = tensor.dtype in ("int32", "int64")  # a bias in units of its layer's products
        if tensor.quantization is None or counts or stored.dtype.kind == "f":
            return stored.astype(np.float32) if stored.dtype == np.float16 else stored
        return dequantized(stored, tensor)

    def need_constant(self, index: int, what: str) -> Array:
        """A constant's values.

        Raises:
            Unsupported: if it is computed while the model runs.
        """
        value = self.constant(index)
        if value is None:
            raise self.unsupported(f"its {what} is computed while the model runs")
        return value

    def set(self, index: int, name: str, layout: str = PLAIN) -> None:
        """Say under which name a tensor stands in the ONNX graph, in which layout."""
        self._values[index] = {layout: name}

    def layout_of(self, index: int) -> str:
        """The layout that a tensor was made in."""
        made = self._values.get(index)
        return PLAIN if made is None else next(iter(made))

    def value(self, index: int, layout: str = PLAIN) -> str:
        """The ONNX name of a tensor in a layout; transposed or made constant as needed.

        Raises:
            Unsupported: if nothing made it (a variable, say).
        """
        known = self._values.setdefault(index, {})
        if layout in known:
            return known[layout]
        constant = self.constant(index) if not known else None
        if constant is not None:
            turned = constant.transpose(TO_NCHW) if layout == NCHW else constant
            known[layout] = self.const(turned, self.tensors[index].name)
        elif known:
            known[layout] = self._turned(index, next(iter(known.values())), layout)
        else:
            raise self.unsupported(f"its input '{self.tensors[index].name}' has no value")
        return known[layout]

    def _turned(self, index: int, name: str, layout: str) -> str:
        """Transpose; where that moves nothing, reshape, which costs nothing."""
        tensor = self.tensors[index]
        if len(tensor.shape) != 4:
            raise self.unsupported(f"'{tensor.name}' is a picture, and has no four axes")
        _, height, width, channels = tensor.shape
        turned = f"{tensor.name}/{layout}"
        if channels == 1 or (height == 1 and width == 1):
            kept = tensor.shape[1:] if layout == PLAIN else (channels, height, width)
            if min(kept) > 0:
                return self.emit("Reshape", [name, self.ints(0, *kept)], turned)
        return self.emit(
            "Transpose", [name], turned, perm=list(TO_NCHW if layout == NCHW else TO_NHWC)
        )

    # What is emitted

    def emit(self, op: str, inputs: Sequence[str], name: str = "", **attributes: Any) -> str:
        """Add a node with one output; its name, or one near it."""
        return self.emit_many(op, inputs, [name or f"{self._base()}/{op}"], **attributes)[0]

    def emit_many(
        self, op: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs."""
        import onnx

        outputs = [self.free(name) for name in names]
        node = onnx.helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes)
        self.nodes.append(node)
        return outputs

    def const(self, value: Array, name: str = "") -> str:
        """Add a constant; the same content stands in the file once."""
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        key = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).digest()
        if key not in self._constants:
            self._constants[key] = self.free(name or f"{self._base()}/const")
            self.initializers[self._constants[key]] = array
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """A vector of int64."""
        return self.const(np.array(values, np.int64), "ints")

    def real(self, value: float) -> str:
        """A float32 number."""
        return self.const(np.array(value, np.float32), "number")

    def free(self, name: str) -> str:
        """A name that nobody has yet; the first to ask for it gets it as it is."""
        found, number = name, 1
        while found in self._taken:
            number += 1
            found = f"{name}.{number}"
        self._taken.add(found)
        return found

    def _base(self) -> str:
        if self.operator is None or not self.operator.outputs:
            return "graph"
        return self.tensors[self.operator.outputs[0]].name

    # Words

    def unsupported(self, why: str) -> Unsupported:
        """The error that names the operator and its place."""
        if self.operator is None:
            return Unsupported(f"the ends of the graph do not fit it: {why}")
        return Unsupported(f"{self.operator.name} ({self.operator.place}) is not supported: {why}")

    def note(self, text: str) -> None:
        """Tell people something, once."""
        self.notes[text] = None


def dequantized(stored: Array, tensor: Tensor) -> Array:
    """The real numbers that stored integers stand for."""
    found = tensor.quantization
    assert found is not None
    shape = [1] * stored.ndim
    if found.scale.size > 1:
        shape[found.axis] = -1
    real = (stored.astype(np.int64) - found.zero_point.reshape(shape)).astype(np.float32)
    made: Array = real * found.scale.reshape(shape)
    return made
