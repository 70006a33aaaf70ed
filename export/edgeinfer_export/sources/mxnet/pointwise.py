"""MXNet's operators that work on one value at a time, on pairs, or along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.ops import flatten
from edgeinfer_export.sources.mxnet.node import Node

Handler = Callable[[Graph, Node], list[str]]


def _one(op: str, **settings: Any) -> Handler:
    """An operator that is one of ONNX."""

    def handler(graph: Graph, node: Node) -> list[str]:
        return [graph.node(op, node.inputs[0], name=node.name, **settings)]

    return handler


def _two(op: str) -> Handler:
    """An operator of two tensors."""

    def handler(graph: Graph, node: Node) -> list[str]:
        if len(node.inputs) != 2:
            graph.fail(f"it has {len(node.inputs)} inputs, and needs 2.")
        return [graph.node(op, *node.inputs, name=node.name)]

    return handler


def _scalar(op: str, reverse: bool = False) -> Handler:
    """An operator of a tensor and a number."""

    def handler(graph: Graph, node: Node) -> list[str]:
        number = graph.weight(node.attributes.number("scalar"))
        pair = (number, node.inputs[0]) if reverse else (node.inputs[0], number)
        return [graph.node(op, *pair, name=node.name)]

    return handler


def _same(graph: Graph, node: Node) -> list[str]:
    """What only training changes."""
    return [node.inputs[0]]


def _sum(graph: Graph, node: Node) -> list[str]:
    if len(node.inputs) == 1:
        return _same(graph, node)
    return [graph.node("Sum", *node.inputs, name=node.name)]


def _activation(graph: Graph, node: Node) -> list[str]:
    kind = node.attributes.word("act_type", "relu")
    ops = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
    op = {**ops, "softrelu": "Softplus", "softsign": "Softsign"}.get(kind)
    if op is None:
        graph.fail(f"its act_type is {kind}.")
    return [graph.node(op, node.inputs[0], name=node.name)]


def _square(graph: Graph, node: Node) -> list[str]:
    return [graph.node("Mul", node.inputs[0], node.inputs[0], name=node.name)]


def _clip(graph: Graph, node: Node) -> list[str]:
    low = graph.weight(node.attributes.number("a_min", -np.inf))
    high = graph.weight(node.attributes.number("a_max", np.inf))
    return [graph.node("Clip", node.inputs[0], low, high, name=node.name)]


def _hard_sigmoid(graph: Graph, node: Node) -> list[str]:
    alpha, beta = node.attributes.number("alpha", 0.2), node.attributes.number("beta", 0.5)
    return [graph.node("HardSigmoid", node.inputs[0], name=node.name, alpha=alpha, beta=beta)]


def _softmax(graph: Graph, node: Node) -> list[str]:
    tensor, axis = node.inputs[0], node.attributes.integer("axis", -1)
    temperature = node.attributes.number("temperature", 1.0)
    if temperature != 1:
        tensor = graph.node("Div", tensor, graph.weight(temperature))
    op = "LogSoftmax" if node.op == "log_softmax" else "Softmax"
    return [graph.node(op, tensor, name=node.name, axis=axis)]


def _softmax_output(graph: Graph, node: Node) -> list[str]:
    tensor, attributes = node.inputs[0], node.attributes
    if attributes.flag("multi_output") or attributes.word("mode") == "channel":
        return [graph.node("Softmax", tensor, name=node.name, axis=1)]
    # The activation takes all axes but the last for rows, the output layer only the first.
    rows = node.op == "SoftmaxActivation" or attributes.flag("preserve_shape")
    if rows or graph.rank(tensor) == 2:
        return [graph.node("Softmax", tensor, name=node.name, axis=-1)]
    flat = graph.node("Softmax", flatten(graph, tensor), axis=1)
    return [graph.reshape(flat, graph.sizes(tensor), node.name)]


def _reduce(op: str) -> Handler:
    """Mean, sum or maximum over axes."""

    def handler(graph: Graph, node: Node) -> list[str]:
        tensor, rank = node.inputs[0], graph.rank(node.inputs[0])
        axes = [axis % rank for axis in node.attributes.integers("axis")] or list(range(rank))
        if node.attributes.flag("exclude"):
            axes = [axis for axis in range(rank) if axis not in axes]
        keep = int(node.attributes.flag("keepdims"))
        if op == "ReduceSum":
            made = graph.node(op, tensor, graph.ints(*axes), name=node.name, keepdims=keep)
        else:
            made = graph.node(op, tensor, name=node.name, axes=axes, keepdims=keep)
        # MXNet has no tensors without dimensions.
        return [made if keep or len(axes) < rank else graph.reshape(made, [1], node.name)]

    return handler


_PAIRS = {
    "Add": ("elemwise_add", "_plus", "_Plus", "broadcast_add", "broadcast_plus", "_add"),
    "Sub": ("elemwise_sub", "_minus", "_Minus", "broadcast_sub", "broadcast_minus", "_sub"),
    "Mul": ("elemwise_mul", "_mul", "_Mul", "broadcast_mul"),
    "Div": ("elemwise_div", "_div", "_Div", "broadcast_div"),
    "Max": ("_maximum", "_Maximum", "broadcast_maximum"),
    "Min": ("_minimum", "_Minimum", "broadcast_minimum"),
    "Pow": ("_power", "_Power", "broadcast_power"),
}
_SCALARS = {
    "Add": ("_plus_scalar", "_PlusScalar"),
    "Sub": ("_minus_scalar", "_MinusScalar"),
    "Mul": ("_mul_scalar", "_MulScalar"),
    "Div": ("_div_scalar", "_DivScalar"),
    "Max": ("_maximum_scalar", "_MaximumScalar"),
    "Min": ("_minimum_scalar", "_MinimumScalar"),
    "Pow": ("_power_scalar", "_PowerScalar"),
}
_REVERSED = {
    "Sub": ("_rminus_scalar", "_RMinusScalar"),
    "Div": ("_rdiv_scalar", "_RDivScalar"),
    "Pow": ("_rpower_scalar", "_RPowerScalar"),
}

OPERATORS: dict[str, Handler] = {
    **{name: _two(op) for op, names in _PAIRS.items() for name in names},
    **{name: _scalar(op) for op, names in _SCALARS.items() for name in names},
    **{name: _scalar(op, reverse=True) for op, names in _REVERSED.items() for name in names},
    "Activation": _activation,
    "BlockGrad": _same,
    "Dropout": _same,
    "ElementWiseSum": _sum,
    "LinearRegressionOutput": _same,
    "LogisticRegressionOutput": _one("Sigmoid"),
    "MAERegressionOutput": _same,
    "MakeLoss": _same,
    "SVMOutput": _same,
    "Softmax": _softmax_output,
    "SoftmaxActivation": _softmax_output,
    "SoftmaxOutput": _softmax_output,
    "_copy": _same,
    "abs": _one("Abs"),
    "add_n": _sum,
    "ceil": _one("Ceil"),
    "clip": _clip,
    "cos": _one("Cos"),
    "erf": _one("Erf"),
    "exp": _one("Exp"),
    "floor": _one("Floor"),
    "hard_sigmoid": _hard_sigmoid,
    "identity": _same,
    "log": _one("Log"),
    "log_softmax": _softmax,
    "max": _reduce("ReduceMax"),
    "mean": _reduce("ReduceMean"),
    "min": _reduce("ReduceMin"),
    "negative": _one("Neg"),
    "relu": _one("Relu"),
    "sigmoid": _one("Sigmoid"),
    "sin": _one("Sin"),
    "softmax": _softmax,
    "softsign": _one("Softsign"),
    "sqrt": _one("Sqrt"),
    "square": _square,
    "sum": _reduce("ReduceSum"),
    "sum_axis": _reduce("ReduceSum"),
    "tanh": _one("Tanh"),
}
