"""MXNet's layers with parameters, and pooling.

Source: the operators' documentation at https://mxnet.apache.org/versions/1.9.1/api/python.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy import ops
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.mxnet.node import Node


def _window(graph: Graph, node: Node) -> ops.Window:
    attributes = node.attributes
    top, left = attributes.pair("pad", 0)
    window = ops.Window(
        kernel=attributes.pair("kernel", 0),
        stride=attributes.pair("stride", 1),
        pads=(top, left, top, left),
        dilation=attributes.pair("dilate", 1),
    )
    window.check(graph)
    if attributes.word("layout", "NCHW") != "NCHW":
        graph.fail(f"its layout is {attributes.word('layout')}; NCHW is supported.")
    return window


def _bias(graph: Graph, node: Node, default_off: bool = False) -> Array | None:
    if node.attributes.flag("no_bias", default_off):
        return None
    return node.parameter(graph, 2, "bias")


def _convolution(graph: Graph, node: Node) -> list[str]:
    weight = node.parameter(graph, 1, "weight")
    window = _window(graph, node)
    if weight.shape[2:] != window.kernel:
        graph.fail(f"its weights are {list(weight.shape)}, its kernel is {window.kernel}.")
    groups = node.attributes.integer("num_group", 1)
    bias = _bias(graph, node)
    return [
        ops.convolve(graph, node.inputs[0], weight, bias, window, groups=groups, name=node.name)
    ]


def _deconvolution(graph: Graph, node: Node) -> list[str]:
    attributes, weight = node.attributes, node.parameter(graph, 1, "weight")
    window = _window(graph, node)
    if attributes.integers("target_shape") not in ((), (0, 0)):
        graph.fail("target_shape is not supported.")
    if weight.shape[2:] != window.kernel:
        graph.fail(f"its weights are {list(weight.shape)}, its kernel is {window.kernel}.")
    return [
        ops.deconvolve(
            graph,
            node.inputs[0],
            weight,
            _bias(graph, node, default_off=True),
            window,
            groups=attributes.integer("num_group", 1),
            extra=attributes.pair("adj", 0),
            name=node.name,
        )
    ]


def _fully_connected(graph: Graph, node: Node) -> list[str]:
    weight, bias = node.parameter(graph, 1, "weight"), _bias(graph, node)
    tensor = node.inputs[0]
    if node.attributes.flag("flatten", True) or graph.rank(tensor) == 2:
        flat = ops.flatten(graph, tensor) if graph.rank(tensor) > 2 else tensor
        return [ops.dense(graph, flat, weight, bias, name=node.name)]
    if graph.shape(tensor)[-1] != weight.shape[1]:
        graph.fail(f"its weights are {list(weight.shape)}, its input {list(graph.shape(tensor))}.")
    made = graph.node("MatMul", tensor, graph.weight(weight.T, f"{node.name}_t"), name=node.name)
    if bias is not None:
        made = graph.node("Add", made, graph.weight(bias, f"{node.name}_bias"))
    return [made]


def _batch_norm(graph: Graph, node: Node) -> list[str]:
    if node.attributes.integer("axis", 1) != 1:
        graph.fail(f"its axis is {node.attributes.integer('axis')}; 1 is supported.")
    gamma, beta, mean, variance = (
        node.parameter(graph, number, what)
        for number, what in enumerate(("gamma", "beta", "mean", "variance"), 1)
    )
    if node.attributes.flag("fix_gamma", True):
        gamma = np.ones_like(gamma)
    epsilon = node.attributes.number("eps", 1e-3)
    tensor = node.inputs[0]
    return [ops.normalize(graph, tensor, mean, variance, epsilon, gamma, beta, name=node.name)]


def _instance_norm(graph: Graph, node: Node) -> list[str]:
    names = (*node.inputs[:3],)
    epsilon = node.attributes.number("eps", 1e-3)
    return [graph.node("InstanceNormalization", *names, name=node.name, epsilon=epsilon)]


def _pooling(graph: Graph, node: Node) -> list[str]:
    attributes, tensor = node.attributes, node.inputs[0]
    kind = attributes.word("pool_type", "max")
    if kind not in ("max", "avg"):
        graph.fail(f"its pool_type is {kind}; max and avg are supported.")
    if attributes.flag("global_pool"):
        return [ops.pool_whole(graph, tensor, average=kind == "avg", name=node.name)]
    window = _window(graph, node)
    convention = attributes.word("pooling_convention", "valid")
    if convention not in ("valid", "full"):
        graph.fail(f"its pooling_convention is {convention}; valid and full are supported.")
    sizes = graph.hw(tensor)
    if len(sizes) != 2:
        graph.fail(f"its input has the shape {list(graph.shape(tensor))}, and is no picture.")
    ceil = convention == "full"
    out = [ops.pooled_size(sizes[i], window, i, ceil, clip=False) for i in (0, 1)]
    return [
        ops.pool(
            graph,
            tensor,
            window,
            (out[0], out[1]),
            average=kind == "avg",
            count_padding=attributes.flag("count_include_pad", True),
            name=node.name,
        )
    ]


def _adaptive_pooling(graph: Graph, node: Node) -> list[str]:
    size = node.attributes.integers("output_size", (1,))
    if set(size) != {1}:
        graph.fail(f"its output_size is {size}; 1 is supported.")
    return [ops.pool_whole(graph, node.inputs[0], average=True, name=node.name)]


def _lrn(graph: Graph, node: Node) -> list[str]:
    attributes = node.attributes
    return [
        graph.node(
            "LRN",
            node.inputs[0],
            name=node.name,
            size=attributes.integer("nsize", 5),
            alpha=attributes.number("alpha", 1e-4),
            beta=attributes.number("beta", 0.75),
            bias=attributes.number("knorm", 2.0),
        )
    ]


def _l2_normalization(graph: Graph, node: Node) -> list[str]:
    tensor, mode = node.inputs[0], node.attributes.word("mode", "instance")
    rank = graph.rank(tensor)
    axes = {"instance": range(1, rank), "channel": range(1, 2), "spatial": range(2, rank)}.get(mode)
    if axes is None:
        graph.fail(f"its mode is {mode}.")
    total = graph.node("ReduceSum", graph.node("Mul", tensor, tensor), graph.ints(*axes))
    shifted = graph.node("Add", total, graph.weight(node.attributes.number("eps", 1e-10)))
    return [graph.node("Div", tensor, graph.node("Sqrt", shifted), name=node.name)]


def _leaky_relu(graph: Graph, node: Node) -> list[str]:
    kind, tensor = node.attributes.word("act_type", "leaky"), node.inputs[0]
    slope = node.attributes.number("slope", 0.25)
    if kind == "prelu":
        slopes = node.parameter(graph, 1, "slopes").reshape(-1)
        factor = ops.along_axis(graph, slopes, 1, graph.rank(tensor), f"{node.name}_slope")
        return [graph.node("PRelu", tensor, factor, name=node.name)]
    if kind == "gelu":
        scaled = graph.node("Div", tensor, graph.weight(np.sqrt(2.0)))
        half = graph.node("Add", graph.node("Erf", scaled), graph.weight(1.0))
        twice = graph.node("Mul", tensor, half)
        return [graph.node("Mul", twice, graph.weight(0.5), name=node.name)]
    if kind == "selu":
        return [graph.node("Selu", tensor, name=node.name)]
    if kind == "rrelu":
        ends = ("lower_bound", 0.125), ("upper_bound", 0.334)
        slope = sum(node.attributes.number(*end) for end in ends) / 2
    op = {"leaky": "LeakyRelu", "rrelu": "LeakyRelu", "elu": "Elu"}.get(kind)
    if op is None:
        graph.fail(f"its act_type is {kind}.")
    return [graph.node(op, tensor, name=node.name, alpha=slope)]


OPERATORS: dict[str, Callable[[Graph, Node], list[str]]] = {
    "BatchNorm": _batch_norm,
    "BatchNorm_v1": _batch_norm,
    "Convolution": _convolution,
    "Convolution_v1": _convolution,
    "CuDNNBatchNorm": _batch_norm,
    "Deconvolution": _deconvolution,
    "FullyConnected": _fully_connected,
    "InstanceNorm": _instance_norm,
    "L2Normalization": _l2_normalization,
    "LRN": _lrn,
    "LeakyReLU": _leaky_relu,
    "Pooling": _pooling,
    "Pooling_v1": _pooling,
    "_contrib_AdaptiveAvgPooling2D": _adaptive_pooling,
}
