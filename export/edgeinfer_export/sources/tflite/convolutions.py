"""Operators that slide over pictures, and matrix products."""

from __future__ import annotations

from typing import Any

from edgeinfer_export.sources.tflite.graph import NCHW, PLAIN, Graph
from edgeinfer_export.sources.tflite.layouts import Made, known
from edgeinfer_export.sources.tflite.model import Operator
from edgeinfer_export.sources.tflite.quantization import bias, weight
from edgeinfer_export.sources.tflite.schema import SAME


def conv_2d(graph: Graph, op: Operator) -> Made:
    """Weights OHWI to OIHW; fewer input channels than the picture has mean groups."""
    x, w = op.inputs[0], op.inputs[1]
    out, height, width, depth = known(graph, w)
    channels = graph.tensor(x).shape[3]
    if channels % depth or out % max(1, channels // depth):
        raise graph.unsupported(f"{channels} channels with weights {list(known(graph, w))}")
    window = _window(graph, op, (height, width), dilation=(5, 4))
    made = graph.emit(
        "Conv",
        [graph.value(x, NCHW), weight(graph, w, (0, 3, 1, 2)), *_bias(graph, op)],
        kernel_shape=[height, width],
        group=channels // depth,
        **window,
    )
    return [(made, NCHW)]


def depthwise_conv_2d(graph: Graph, op: Operator) -> Made:
    """Weights 1HW(C*m) to (C*m)1HW."""
    x, w = op.inputs[0], op.inputs[1]
    _, height, width, _ = known(graph, w)
    made = graph.emit(
        "Conv",
        [graph.value(x, NCHW), weight(graph, w, (3, 0, 1, 2)), *_bias(graph, op)],
        kernel_shape=[height, width],
        group=graph.tensor(x).shape[3],
        **_window(graph, op, (height, width), dilation=(6, 5)),
    )
    return [(made, NCHW)]


def transpose_conv(graph: Graph, op: Operator) -> Made:
    """Weights OHWI to IOHW; what SAME cuts off is what the convolution forward would pad."""
    w, x = op.inputs[1], op.inputs[2]
    _, height, width, _ = known(graph, w)
    strides = _strides(op)
    sizes = graph.tensor(x).shape[1:3], graph.tensor(op.outputs[0]).shape[1:3]
    begins, ends, extras = [], [], []
    for given, made, kernel, stride in zip(*sizes, (height, width), strides, strict=True):
        if given < 0 or made < 0:
            raise graph.unsupported("the size of its output is open")
        total = (given - 1) * stride + kernel - made
        begins.append(max(0, total) // 2)
        ends.append(max(0, total) - max(0, total) // 2)
        extras.append(max(0, -total))
    added = [] if len(op.inputs) < 4 or op.inputs[3] < 0 else [bias(graph, op.inputs[3], x, w)]
    name = graph.emit(
        "ConvTranspose",
        [graph.value(x, NCHW), weight(graph, w, (3, 0, 1, 2)), *added],
        kernel_shape=[height, width],
        strides=list(strides),
        pads=begins + ends,
        output_padding=extras,
    )
    return [(name, NCHW)]


def _bias(graph: Graph, op: Operator) -> list[str]:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return []
    return [bias(graph, op.inputs[2], op.inputs[0], op.inputs[1])]


def _strides(op: Operator) -> tuple[int, int]:
    options = op.options
    if options is None:
        return 1, 1
    return max(1, options.number(2)), max(1, options.number(1))


def _window(
    graph: Graph, op: Operator, kernel: tuple[int, int], dilation: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Strides, dilations and pads; SAME is explicit where the picture's size is known."""
    strides = _strides(op)
    steps = [1, 1]
    if dilation is not None and op.options is not None:
        steps = [max(1, op.options.number(slot, default=1)) for slot in dilation]
    found: dict[str, Any] = {"strides": list(strides)}
    if steps != [1, 1]:
        found["dilations"] = steps
    if op.options is None or op.options.number(0, "b") != SAME:
        return found
    sizes = graph.tensor(op.inputs[0]).shape[1:3]
    if min(sizes) < 0:
        return {**found, "auto_pad": "SAME_UPPER"}
    begins, ends = [], []
    for size, length, stride, step in zip(sizes, kernel, strides, steps, strict=True):
        reach = (length - 1) * step + 1
        total = max(0, (-(-size // stride) - 1) * stride + reach - size)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return {**found, "pads": begins + ends} if any(begins + ends) else found


def average_pool_2d(graph: Graph, op: Operator) -> Made:
    """TFLite divides by how many pixels of the picture lie in the window."""
    x = graph.value(op.inputs[0], NCHW)
    kernel = _kernel(graph, op)
    sizes = graph.tensor(op.inputs[0]).shape[1:3]
    window = _window(graph, op, kernel)
    if kernel == sizes and "pads" not in window:
        return [(graph.emit("GlobalAveragePool", [x]), NCHW)]
    made = graph.emit("AveragePool", [x], kernel_shape=list(kernel), count_include_pad=0, **window)
    return [(made, NCHW)]


def max_pool_2d(graph: Graph, op: Operator) -> Made:
    """The largest of a window."""
    kernel = _kernel(graph, op)
    made = graph.emit(
        "MaxPool",
        [graph.value(op.inputs[0], NCHW)],
        kernel_shape=list(kernel),
        **_window(graph, op, kernel),
    )
    return [(made, NCHW)]


def l2_pool_2d(graph: Graph, op: Operator) -> Made:
    """The root of the mean square of a window."""
    x = graph.value(op.inputs[0], NCHW)
    kernel = _kernel(graph, op)
    mean = graph.emit(
        "AveragePool",
        [graph.emit("Mul", [x, x])],
        kernel_shape=list(kernel),
        count_include_pad=0,
        **_window(graph, op, kernel),
    )
    return [(graph.emit("Sqrt", [mean]), NCHW)]


def _kernel(graph: Graph, op: Operator) -> tuple[int, int]:
    if op.options is None:
        raise graph.unsupported("it does not say how big its window is")
    kernel = op.options.number(4), op.options.number(3)
    if min(kernel) < 1:
        raise graph.unsupported(f"its window is {kernel[0]}x{kernel[1]}")
    return kernel


def fully_connected(graph: Graph, op: Operator) -> Made:
    """Gemm over the last axis; what comes out keeps the other axes or becomes two."""
    x, w = op.inputs[0], op.inputs[1]
    options = op.options
    if options is not None and options.number(1, "b"):
        raise graph.unsupported("its weights are shuffled")
    _, depth = known(graph, w)
    name = graph.value(x)
    keep = options is not None and options.flag(2) and len(graph.tensor(x).shape) > 2
    if keep:
        made = graph.emit("MatMul", [name, weight(graph, w, (1, 0))])
        added = _bias(graph, op)
        return [(graph.emit("Add", [made, *added]) if added else made, PLAIN)]
    if len(graph.tensor(x).shape) != 2 or graph.tensor(x).shape[1] not in (depth, -1):
        name = graph.emit("Reshape", [name, graph.ints(-1, depth)])
    made = graph.emit("Gemm", [name, weight(graph, w), *_bias(graph, op)], transB=1)
    return [(made, PLAIN)]


def batch_matmul(graph: Graph, op: Operator) -> Made:
    """A product of stacks of matrices, each turned or not."""
    names = []
    for index, slot in zip(op.inputs[:2], (0, 1), strict=True):
        rank = len(graph.tensor(index).shape)
        turn = [*range(rank - 2), rank - 1, rank - 2]
        turned = op.options is not None and op.options.flag(slot)
        if graph.constant(index) is not None:
            names.append(weight(graph, index, turn if turned else None))
        else:
            name = graph.value(index)
            names.append(graph.emit("Transpose", [name], perm=turn) if turned else name)
    return [(graph.emit("MatMul", names), PLAIN)]
