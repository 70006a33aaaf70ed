"""Caffe's layers with weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.caffe.network import Layer
from edgeinfer_export.sources.legacy import ops
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.text import Fields


def pair(graph: Graph, fields: Fields, name: str, default: int, short: str = "") -> ops.Pair:
    """A size that is written as ``kernel_size``, twice, or as ``kernel_h`` and ``kernel_w``."""
    short = short or name
    if f"{short}_h" in fields or f"{short}_w" in fields:
        return fields.integer(f"{short}_h", default), fields.integer(f"{short}_w", default)
    values = fields.ints(name) or [default]
    if len(values) > 2:
        graph.fail(f"its {name} has {len(values)} dimensions; pictures have two.")
    return values[0], values[-1]


def window_of(graph: Graph, fields: Fields) -> ops.Window:
    """How a convolution or a pooling slides."""
    kernel = pair(graph, fields, "kernel_size", 0, "kernel")
    top, left = pair(graph, fields, "pad", 0)
    return ops.Window(
        kernel=kernel,
        stride=pair(graph, fields, "stride", 1),
        pads=(top, left, top, left),
        dilation=pair(graph, fields, "dilation", 1),
    )


def blob(graph: Graph, layer: Layer, number: int, count: int | None = None) -> Array:
    """A blob of weights as a vector.

    Args:
        count: how many it has to have.
    """
    if number >= len(layer.blobs):
        graph.fail(f"it has {len(layer.blobs)} blobs of weights, and needs {number + 1}.")
    values = layer.blobs[number].reshape(-1)
    if count is not None and values.size != count:
        graph.fail(f"it has {values.size} weights in blob {number}, and needs {count}.")
    return values


def _kernels(graph: Graph, layer: Layer, out: int, channels: int, window: ops.Window) -> Array:
    kernel = window.kernel
    window.check(graph)
    if out < 1:
        graph.fail(f"its num_output is {out}.")
    return blob(graph, layer, 0, out * channels * kernel[0] * kernel[1]).reshape(
        out, channels, *kernel
    )


def _convolution(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, channels = layer.part("convolution"), _channels(graph, inputs[0])
    window, out = window_of(graph, fields), fields.integer("num_output")
    depthwise = layer.kind != "Convolution" and "group" not in fields
    groups = channels if depthwise else fields.integer("group", 1)
    _check_groups(graph, groups, channels)
    weight = _kernels(graph, layer, out, channels // groups, window)
    bias = blob(graph, layer, 1, out) if fields.flag("bias_term", True) else None
    return [
        ops.convolve(graph, item, weight, bias, window, groups=groups, name=layer.tops[number])
        for number, item in enumerate(inputs)
    ]


def _deconvolution(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, channels = layer.part("convolution"), _channels(graph, inputs[0])
    window, out = window_of(graph, fields), fields.integer("num_output")
    groups = fields.integer("group", 1)
    _check_groups(graph, groups, channels)
    _check_groups(graph, groups, out)
    weight = _kernels(graph, layer, channels, out // groups, window)
    bias = blob(graph, layer, 1, out) if fields.flag("bias_term", True) else None
    name = layer.tops[0]
    return [ops.deconvolve(graph, inputs[0], weight, bias, window, groups=groups, name=name)]


def _inner_product(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("inner_product")
    out, axis = fields.integer("num_output"), fields.integer("axis", 1)
    name = layer.tops[0]
    axis %= graph.rank(inputs[0])
    flat = ops.flatten(graph, inputs[0], axis) if axis < graph.rank(inputs[0]) - 1 else inputs[0]
    size = graph.fixed(graph.shape(flat)[-1], inputs[0])
    if out < 1 or blob(graph, layer, 0).size != out * size:
        graph.fail(
            f"it has {blob(graph, layer, 0).size} weights, and {size} values to {out} outputs need "
            f"{out * size}: was the network trained for another input size?"
        )
    weight = blob(graph, layer, 0)
    weight = weight.reshape(size, out).T if fields.flag("transpose") else weight.reshape(out, size)
    bias = blob(graph, layer, 1, out) if fields.flag("bias_term", True) else None
    if axis == 1:
        return [ops.dense(graph, flat, weight, bias, name=name)]
    product = graph.node("MatMul", flat, graph.weight(weight.T, f"{name}_weight"), name=name)
    if bias is not None:
        product = graph.node("Add", product, graph.weight(bias, f"{name}_bias"), name=name)
    return [product]


def _batch_norm(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, channels = layer.part("batch_norm"), _channels(graph, inputs[0])
    factor = float(blob(graph, layer, 2, 1)[0]) if len(layer.blobs) > 2 else 1.0
    # The running sums are kept with their weight; none at all is a layer that was never trained.
    share = 0.0 if factor == 0 else 1 / factor
    mean = blob(graph, layer, 0, channels) * np.float32(share)
    variance = blob(graph, layer, 1, channels) * np.float32(share)
    epsilon = fields.number("eps", 1e-5)
    return [ops.normalize(graph, inputs[0], mean, variance, epsilon, name=layer.tops[0])]


def _bn(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """The one-layer form of SegNet (two blobs, statistics folded in) and PSPNet (four)."""
    channels = _channels(graph, inputs[0])
    scale, shift = (blob(graph, layer, i, channels) for i in (0, 1))
    mean, variance, epsilon = np.zeros_like(scale), np.ones_like(scale), 0.0
    if len(layer.blobs) == 4:
        mean, variance = (blob(graph, layer, i, channels) for i in (2, 3))
        epsilon = layer.part("bn").number("eps", 1e-5)
    name = layer.tops[0]
    return [ops.normalize(graph, inputs[0], mean, variance, epsilon, scale, shift, name=name)]


def _operand(graph: Graph, layer: Layer, inputs: list[str], fields: Fields) -> str:
    """What Scale and Bias work with: a blob of weights, or their second input."""
    rank = graph.rank(inputs[0])
    axis = fields.integer("axis", 1) % rank
    shape: tuple[int | str, ...]
    if len(inputs) > 1:
        shape = graph.shape(inputs[1])
        after = rank - axis - len(shape)
        if after <= 0:
            return inputs[1]
        return graph.reshape(inputs[1], [0] * len(shape) + [1] * after)
    count = fields.integer("num_axes", 1)
    shape = graph.shape(inputs[0])[axis:] if count < 0 else graph.shape(inputs[0])[axis:][:count]
    sizes = tuple(graph.fixed(size, inputs[0]) for size in shape)
    values = blob(graph, layer, 0, int(np.prod(sizes))).reshape(sizes)
    return ops.along_axis(graph, values, axis, rank, f"{layer.tops[0]}_factor")


def _scale(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, name = layer.part("scale"), layer.tops[0]
    factor = _operand(graph, layer, inputs, fields)
    scaled = graph.node("Mul", inputs[0], factor, name=name)
    if fields.flag("bias_term"):
        rank, axis = graph.rank(inputs[0]), fields.integer("axis", 1) % graph.rank(inputs[0])
        number = len(inputs) == 1
        values = blob(graph, layer, int(number))
        if number:
            values = values.reshape(layer.blobs[0].shape)
        shift = ops.along_axis(graph, values, axis, rank, f"{name}_shift")
        scaled = graph.node("Add", scaled, shift, name=name)
    return [scaled]


def _bias(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    operand = _operand(graph, layer, inputs, layer.part("bias"))
    return [graph.node("Add", inputs[0], operand, name=layer.tops[0])]


def _prelu(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    slopes = blob(graph, layer, 0)
    if layer.part("prelu").flag("channel_shared") or slopes.size == 1:
        slope = graph.weight(slopes[:1], f"{layer.tops[0]}_slope")
    else:
        slopes = blob(graph, layer, 0, _channels(graph, inputs[0]))
        slope = ops.along_axis(graph, slopes, 1, graph.rank(inputs[0]), f"{layer.tops[0]}_slope")
    return [graph.node("PRelu", inputs[0], slope, name=layer.tops[0])]


def _normalize(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """The L2 norm of SSD, over channels or over everything, times learned factors."""
    fields = layer.part("norm")
    axes = [1, 2, 3] if fields.flag("across_spatial", True) else [1]
    squares = graph.node("Mul", inputs[0], inputs[0])
    total = graph.node("ReduceSum", squares, graph.ints(*axes), keepdims=1)
    epsilon = graph.weight(fields.number("eps", 1e-10))
    length = graph.node("Sqrt", graph.node("Add", total, epsilon))
    unit = graph.node("Div", inputs[0], length)
    scale = blob(graph, layer, 0)
    if not fields.flag("channel_shared", True):
        scale = blob(graph, layer, 0, _channels(graph, inputs[0]))
    factor = graph.weight(scale.reshape(1, -1, 1, 1), f"{layer.tops[0]}_factor")
    return [graph.node("Mul", unit, factor, name=layer.tops[0])]


def _check_groups(graph: Graph, groups: int, channels: int) -> None:
    if groups < 1 or channels % groups:
        graph.fail(f"its {channels} channels do not divide into {groups} groups.")


def _channels(graph: Graph, tensor: str) -> int:
    if graph.rank(tensor) < 2:
        graph.fail(f"its input has the shape {list(graph.shape(tensor))}, without channels.")
    return graph.fixed(graph.shape(tensor)[1], tensor)


LAYERS: dict[str, Callable[[Graph, Layer, list[str]], list[str]]] = {
    "BN": _bn,
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Convolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "Deconvolution": _deconvolution,
    "DepthwiseConvolution": _convolution,
    "InnerProduct": _inner_product,
    "Normalize": _normalize,
    "PReLU": _prelu,
    "Scale": _scale,
}
NEEDS_WEIGHTS = frozenset(LAYERS) - {"Bias", "Scale"}
