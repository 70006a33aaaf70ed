"""Operators that work element by element; they keep whatever layout their inputs have."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgeinfer_export.sources.tflite import schema
from edgeinfer_export.sources.tflite.graph import NCHW, Graph
from edgeinfer_export.sources.tflite.layouts import Made, as_made, together
from edgeinfer_export.sources.tflite.model import Operator

Handler = Callable[[Graph, Operator], Made]
_ONNX_TYPES = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7,
    "bool": 9, "float16": 10, "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip


def plain(op_type: str) -> Handler:
    """An operator that ONNX has under another name."""

    def handler(graph: Graph, op: Operator) -> Made:
        names, layout = together(graph, op.inputs)
        return [(graph.emit(op_type, names), layout)]

    return handler


def negated(op_type: str) -> Handler:
    """The opposite of a comparison."""

    def handler(graph: Graph, op: Operator) -> Made:
        names, layout = together(graph, op.inputs)
        return [(graph.emit("Not", [graph.emit(op_type, names)]), layout)]

    return handler


def activated(graph: Graph, name: str, number: int) -> str:
    """A fused activation."""
    if number == 0:
        return name
    if number == schema.RELU:
        return graph.emit("Relu", [name])
    if number == schema.TANH:
        return graph.emit("Tanh", [name])
    bounds = {schema.RELU_N1_TO_1: (-1.0, 1.0), schema.RELU6: (0.0, 6.0)}
    if number not in bounds:
        raise graph.unsupported(f"its activation has number {number}")
    low, high = bounds[number]
    return graph.emit("Clip", [name, graph.real(low), graph.real(high)])


def clipped(low: float, high: float) -> Handler:
    """A value kept between two bounds."""

    def handler(graph: Graph, op: Operator) -> Made:
        name, layout = as_made(graph, op.inputs[0])
        return [(graph.emit("Clip", [name, graph.real(low), graph.real(high)]), layout)]

    return handler


def rsqrt(graph: Graph, op: Operator) -> Made:
    name, layout = as_made(graph, op.inputs[0])
    return [(graph.emit("Reciprocal", [graph.emit("Sqrt", [name])]), layout)]


def square(graph: Graph, op: Operator) -> Made:
    name, layout = as_made(graph, op.inputs[0])
    return [(graph.emit("Mul", [name, name]), layout)]


def squared_difference(graph: Graph, op: Operator) -> Made:
    names, layout = together(graph, op.inputs)
    apart = graph.emit("Sub", names)
    return [(graph.emit("Mul", [apart, apart]), layout)]


def floor_div(graph: Graph, op: Operator) -> Made:
    names, layout = together(graph, op.inputs)
    if graph.tensor(op.inputs[0]).dtype.startswith("float"):
        return [(graph.emit("Floor", [graph.emit("Div", names)]), layout)]
    # ONNX divides integers towards zero; the remainder with the divisor's sign gives the floor.
    rest = graph.emit("Mod", names)
    return [(graph.emit("Div", [graph.emit("Sub", [names[0], rest]), names[1]]), layout)]


def floor_mod(graph: Graph, op: Operator) -> Made:
    names, layout = together(graph, op.inputs)
    if not graph.tensor(op.inputs[0]).dtype.startswith("float"):
        return [(graph.emit("Mod", names), layout)]
    times = graph.emit("Floor", [graph.emit("Div", names)])
    return [(graph.emit("Sub", [names[0], graph.emit("Mul", [times, names[1]])]), layout)]


def leaky_relu(graph: Graph, op: Operator) -> Made:
    name, layout = as_made(graph, op.inputs[0])
    alpha = 0.0 if op.options is None else op.options.real(0)
    return [(graph.emit("LeakyRelu", [name], alpha=alpha), layout)]


def prelu(graph: Graph, op: Operator) -> Made:
    names, layout = together(graph, op.inputs)
    return [(graph.emit("PRelu", names), layout)]


def gelu(graph: Graph, op: Operator) -> Made:
    """x * P(X <= x); the approximate form by tanh (Hendrycks and Gimpel, arXiv:1606.08415)."""
    name, layout = as_made(graph, op.inputs[0])
    one, half = graph.real(1.0), graph.real(0.5)
    if op.options is not None and op.options.flag(0):
        cube = graph.emit("Mul", [graph.emit("Mul", [name, name]), name])
        inner = graph.emit("Add", [name, graph.emit("Mul", [cube, graph.real(0.044715)])])
        bent = graph.emit("Tanh", [graph.emit("Mul", [inner, graph.real(math.sqrt(2 / math.pi))])])
    else:
        bent = graph.emit("Erf", [graph.emit("Mul", [name, graph.real(math.sqrt(0.5))])])
    share = graph.emit("Mul", [graph.emit("Add", [bent, one]), half])
    return [(graph.emit("Mul", [name, share]), layout)]


def add_n(graph: Graph, op: Operator) -> Made:
    names, layout = together(graph, op.inputs)
    return [(graph.emit("Sum", names), layout)]


def select(graph: Graph, op: Operator) -> Made:
    """Where; the first form lets a vector choose whole rows."""
    condition, chosen = graph.tensor(op.inputs[0]), graph.tensor(op.inputs[1])
    if op.name == "SELECT" and len(condition.shape) == 1 and len(chosen.shape) > 1:
        name = graph.value(op.inputs[0])
        rows = graph.emit("Reshape", [name, graph.ints(-1, *[1] * (len(chosen.shape) - 1))])
        return [(graph.emit("Where", [rows, *map(graph.value, op.inputs[1:])]), "plain")]
    names, layout = together(graph, op.inputs)
    return [(graph.emit("Where", names), layout)]


def cast(graph: Graph, op: Operator) -> Made:
    name, layout = as_made(graph, op.inputs[0])
    made = graph.tensor(op.outputs[0]).dtype
    if made not in _ONNX_TYPES:
        raise graph.unsupported(f"it makes numbers of type {made}")
    if graph.tensor(op.inputs[0]).dtype == made:
        return [(name, layout)]
    return [(graph.emit("Cast", [name], to=_ONNX_TYPES[made]), layout)]


def same_value(graph: Graph, op: Operator) -> Made:
    """QUANTIZE and DEQUANTIZE: values are real everywhere, rounding follows each tensor."""
    value = graph.constant(op.inputs[0])
    if value is not None and not graph.tensor(op.outputs[0]).quantized:
        # Weights that are stored in fewer bits: they stay constants.
        graph.folded[op.outputs[0]] = value
        return []
    return [as_made(graph, op.inputs[0])]


def zeros_like(graph: Graph, op: Operator) -> Made:
    name, layout = as_made(graph, op.inputs[0])
    return [(graph.emit("Sub", [name, name]), layout)]


def softmax(graph: Graph, op: Operator) -> Made:
    """Over the last axis, with a factor before."""
    name = graph.value(op.inputs[0])
    beta = 1.0 if op.options is None else op.options.real(0)
    if beta != 1.0:
        name = graph.emit("Mul", [name, graph.real(beta)])
    return [(graph.emit("Softmax", [name], axis=-1), "plain")]


def log_softmax(graph: Graph, op: Operator) -> Made:
    return [(graph.emit("LogSoftmax", [graph.value(op.inputs[0])], axis=-1), "plain")]


def l2_normalization(graph: Graph, op: Operator) -> Made:
    """Over the last axis; TFLite keeps tiny lengths from becoming a division by zero."""
    name, layout = as_made(graph, op.inputs[0])
    axis = 1 if layout == NCHW else -1
    total = graph.emit("ReduceSum", [graph.emit("Mul", [name, name]), graph.ints(axis)], keepdims=1)
    length = graph.emit("Sqrt", [graph.emit("Max", [total, graph.real(1e-12)])])
    return [(graph.emit("Div", [name, length]), layout)]


def local_response_normalization(graph: Graph, op: Operator) -> Made:
    """Over channels; ONNX divides alpha by the size of the window, TFLite does not."""
    if op.options is None:
        raise graph.unsupported("it has no options")
    size = 2 * op.options.number(0) + 1
    made = graph.emit(
        "LRN",
        [graph.value(op.inputs[0], NCHW)],
        size=size,
        bias=op.options.real(1),
        alpha=op.options.real(2) * size,
        beta=op.options.real(3),
    )
    return [(made, NCHW)]


def fake_quant(graph: Graph, op: Operator) -> Made:
    """Training's stand-in for quantization, with TensorFlow's nudged bounds."""
    if op.options is None:
        raise graph.unsupported("it has no options")
    low, high = op.options.real(0), op.options.real(1)
    bits = op.options.number(2)
    if bits != 8 or not low < high:
        raise graph.unsupported(f"{bits} bits between {low:g} and {high:g}")
    least = 1 if op.options.flag(3) else 0
    scale = (high - low) / (255 - least)
    point = round(min(255.0, max(least, least - low / scale)))
    name, layout = as_made(graph, op.inputs[0])
    pair = [graph.real(scale), graph.const(np.array(point, np.uint8), "zero_point")]
    if least:
        name = graph.emit("Clip", [name, graph.real((1 - point) * scale), graph.real(high)])
    stored = graph.emit("QuantizeLinear", [name, *pair])
    return [(graph.emit("DequantizeLinear", [stored, *pair]), layout)]
