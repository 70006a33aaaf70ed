"""Puts an ONNX graph together node by node, with seeded random weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import UsageError
from edgeinfer.spec import METADATA_KEY

_OPSET = 17
# What the oldest supported ONNX Runtime reads.
_IR_VERSION = 10


class Graph:
    """Nodes and weights so far; each method adds a piece and returns the name of its output.

    Args:
        seed: of the weights.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._channels: dict[str, int] = {}
        self.parameters = 0

    def node(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Any one node with one output; `attributes` are the operator's own."""
        return self.nodes(op, inputs, 1, **attributes)[0]

    def nodes(self, op: str, inputs: Sequence[str], outputs: int, **attributes: Any) -> list[str]:
        """Any one node."""
        from onnx import helper

        names = [f"{op.lower()}_{len(self._nodes)}_{index}" for index in range(outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names

    def tensor(self, values: NDArray[Any]) -> str:
        """A constant."""
        from onnx import numpy_helper

        name = f"weight_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, *values: int) -> str:
        """A constant `(N,)` int64."""
        return self.tensor(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A constant `()` float32."""
        return self.tensor(np.array(value, np.float32))

    def learned(self, shape: Sequence[int], scale: float, middle: float = 0.0) -> str:
        """Weights `shape` float32, normal around `middle` with the standard deviation `scale`."""
        values = (self._random.standard_normal(shape) * scale + middle).astype(np.float32)
        self.parameters += values.size
        return self.tensor(values)

    def picture(self, name: str, channels: int) -> str:
        """Declare the graph's input as a picture of so many channels."""
        self._channels[name] = channels
        return name

    def channels(self, x: str) -> int:
        """How many channels a tensor has."""
        return self._channels[x]

    def conv(
        self,
        x: str,
        out: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        depthwise: bool = False,
        gain: float = 1.0,
        bias: float | None = None,
        pad: int | None = None,
    ) -> str:
        """A convolution with its batch normalization already folded in.

        Args:
            pad: on every side; by default half the kernel.
            gain: the output's standard deviation for an input of 1; the weights' follows from the
                fan-in (He et al. 2015).
            bias: of every channel; by default small and random.
        """
        channels = self._channels[x]
        fan_in = kernel * kernel * (1 if depthwise else channels)
        shape = (out, 1 if depthwise else channels, kernel, kernel)
        scale = gain / math.sqrt(fan_in)
        weights = (self._random.standard_normal(shape) * scale).astype(np.float32)
        if bias is None:
            biases = (self._random.standard_normal(out) * 0.05).astype(np.float32)
        else:
            biases = np.full(out, bias, np.float32)
        self.parameters += weights.size + biases.size
        pad = kernel // 2 if pad is None else pad
        y = self.node(
            "Conv",
            [x, self.tensor(weights), self.tensor(biases)],
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            group=channels if depthwise else 1,
        )
        self._channels[y] = out
        return y

    def dense(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        """A fully connected layer on `(1, inputs)`."""
        weights = self._random.standard_normal((inputs, outputs)) * gain / math.sqrt(inputs)
        self.parameters += weights.size + outputs
        pair = [weights.astype(np.float32), np.zeros(outputs, np.float32)]
        return self.node("Gemm", [x, *map(self.tensor, pair)])

    def linear(self, x: str, inputs: int, outputs: int, gain: float = 1.0) -> str:
        """A fully connected layer on the last axis of `(..., inputs)`."""
        weights = self.learned((inputs, outputs), gain / math.sqrt(inputs))
        return self.node("Add", [self.node("MatMul", [x, weights]), self.learned((outputs,), 0.02)])

    def same(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """A node whose output has the channels of its first input."""
        y = self.node(op, inputs, **attributes)
        self._channels[y] = self._channels[inputs[0]]
        return y

    def silu(self, x: str) -> str:
        """x * sigmoid(x)."""
        return self.same("Mul", [x, self.same("Sigmoid", [x])])

    def upsample(self, x: str) -> str:
        """Twice as high and wide, every value four times."""
        return self.same(
            "Resize",
            [x, "", self.tensor(np.array([1, 1, 2, 2], np.float32))],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def max_pool(self, x: str, kernel: int, stride: int = 1) -> str:
        """The largest value in each window."""
        pads = [kernel // 2] * 4
        shape, step = [kernel, kernel], [stride, stride]
        return self.same("MaxPool", [x], kernel_shape=shape, strides=step, pads=pads)

    def pooled(self, x: str) -> str:
        """The mean of every channel, `(1, channels)`."""
        return self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)

    def concat(self, parts: Sequence[str]) -> str:
        """Join along the channels."""
        y = self.node("Concat", parts, axis=1)
        self._channels[y] = sum(self._channels[part] for part in parts)
        return y

    def halves(self, x: str) -> list[str]:
        """Split the channels into two equal parts."""
        half = self._channels[x] // 2
        parts = self.nodes("Split", [x, self.integers(half, half)], 2, axis=1)
        self._channels |= dict.fromkeys(parts, half)
        return parts

    def model(
        self,
        name: str,
        inputs: tuple[str, tuple[int, ...]],
        output: tuple[str, str, tuple[int, ...]],
        spec: Mapping[str, Any],
    ) -> bytes:
        """The finished file.

        Args:
            inputs: name and shape of the one input.
            output: the inner name of the result, and the name and shape that it gets.
            spec: goes into the metadata.
        """
        from onnx import TensorProto, checker, helper

        inner, outer, shape = output
        self._nodes.append(helper.make_node("Identity", [inner], [outer]))
        graph = helper.make_graph(
            self._nodes,
            name,
            [helper.make_tensor_value_info(inputs[0], TensorProto.FLOAT, inputs[1])],
            [helper.make_tensor_value_info(outer, TensorProto.FLOAT, shape)],
            self._weights,
        )
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        helper.set_model_props(model, {METADATA_KEY: json.dumps(spec)})
        checker.check_model(model)
        return bytes(model.SerializeToString())


def check_size(size: int) -> None:
    """Refuse sizes whose feature maps do not meet.

    Raises:
        UsageError: unless it is a multiple of 32, from 32 to 2048.
    """
    if size % 32 or not 32 <= size <= 2048:
        raise UsageError(f"The size {size} is no multiple of 32 from 32 to 2048.")
