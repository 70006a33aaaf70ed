"""Caffe's layers that work on one value at a time, or on pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from edgeinfer_export.sources.caffe.network import Layer
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.legacy.ops import flatten

Handler = Callable[[Graph, Layer, list[str]], list[str]]


def _one(op: str, **attributes: Any) -> Handler:
    """A layer that is one operator."""

    def handler(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
        return [graph.node(op, inputs[0], name=layer.tops[0], **attributes)]

    return handler


def _same(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """Dropout and Split hand on what they get."""
    return [inputs[0]] * max(1, len(layer.tops))


def _relu(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    slope, name = layer.part("relu").number("negative_slope"), layer.tops[0]
    if slope:
        return [graph.node("LeakyRelu", inputs[0], name=name, alpha=slope)]
    return [graph.node("Relu", inputs[0], name=name)]


def _clip(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("clip")
    low, high = fields.number("min", -math.inf), fields.number("max", math.inf)
    if layer.kind == "ReLU6":
        low, high = 0.0, 6.0
    limits = (graph.weight(low), graph.weight(high))
    return [graph.node("Clip", inputs[0], *limits, name=layer.tops[0])]


def _elu(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    alpha = layer.part("elu").number("alpha", 1.0)
    return [graph.node("Elu", inputs[0], name=layer.tops[0], alpha=alpha)]


def _swish(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    beta, gate = layer.part("swish").number("beta", 1.0), inputs[0]
    if beta != 1:
        gate = graph.node("Mul", gate, graph.weight(beta))
    gate = graph.node("Sigmoid", gate)
    return [graph.node("Mul", inputs[0], gate, name=layer.tops[0])]


def _mish(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    gate = graph.node("Tanh", graph.node("Softplus", inputs[0]))
    return [graph.node("Mul", inputs[0], gate, name=layer.tops[0])]


def _linear(graph: Graph, tensor: str, scale: float, shift: float) -> str:
    if scale != 1:
        tensor = graph.node("Mul", tensor, graph.weight(scale))
    return graph.node("Add", tensor, graph.weight(shift)) if shift else tensor


def _power(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("power")
    value = _linear(graph, inputs[0], fields.number("scale", 1.0), fields.number("shift"))
    power = fields.number("power", 1.0)
    return [value if power == 1 else graph.node("Pow", value, graph.weight(power))]


def _exp(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("exp")
    value = _linear(graph, inputs[0], fields.number("scale", 1.0), fields.number("shift"))
    base = fields.number("base", -1.0)
    if base > 0:
        value = graph.node("Mul", value, graph.weight(math.log(base)))
    return [graph.node("Exp", value, name=layer.tops[0])]


def _log(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("log")
    value = _linear(graph, inputs[0], fields.number("scale", 1.0), fields.number("shift"))
    value, base = graph.node("Log", value), fields.number("base", -1.0)
    if base > 0 and base != 1:
        value = graph.node("Mul", value, graph.weight(1 / math.log(base)))
    return [value]


def _threshold(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    limit = graph.weight(layer.part("threshold").number("threshold"))
    return [graph.node("Cast", graph.node("Greater", inputs[0], limit), name=layer.tops[0], to=1)]


def _eltwise(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("eltwise")
    kind = fields.word("operation", "SUM")
    op = {"PROD": "Mul", "0": "Mul", "SUM": "Add", "1": "Add", "MAX": "Max", "2": "Max"}.get(kind)
    factors = fields.floats("coeff")
    if op is None or (factors and len(factors) != len(inputs)):
        graph.fail(f"its operation is {kind} with {len(factors)} factors for {len(inputs)} inputs.")
    if any(graph.shape(item) != graph.shape(inputs[0]) for item in inputs):
        shapes = ", ".join(str(list(graph.shape(item))) for item in inputs)
        graph.fail(f"its inputs have different shapes: {shapes}.")
    terms = list(inputs)
    if op == "Add" and factors:
        terms = [
            _linear(graph, item, factor, 0) for item, factor in zip(terms, factors, strict=True)
        ]
    result = terms[0]
    for item in terms[1:]:
        result = graph.node(op, result, item, name=layer.tops[0])
    return [result]


def _axpy(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """Factors per channel, times a map, plus another (squeeze-and-excitation networks)."""
    if len(inputs) != 3:
        graph.fail(f"it has {len(inputs)} inputs, and needs 3.")
    factors = inputs[0]
    if graph.rank(factors) == 2:
        factors = graph.reshape(factors, [0, 0, 1, 1])
    product = graph.node("Mul", factors, inputs[1])
    return [graph.node("Add", product, inputs[2], name=layer.tops[0])]


def _softmax(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    axis = layer.part("softmax").integer("axis", 1)
    return [graph.node("Softmax", inputs[0], name=layer.tops[0], axis=axis)]


def _mvn(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("mvn")
    axes = [1, 2, 3] if fields.flag("across_channels") else [2, 3]
    mean = graph.node("ReduceMean", inputs[0], axes=axes)
    centred = graph.node("Sub", inputs[0], mean)
    if not fields.flag("normalize_variance", True):
        return [centred]
    squares = graph.node("Mul", centred, centred)
    deviation = graph.node("Sqrt", graph.node("ReduceMean", squares, axes=axes))
    epsilon = graph.weight(fields.number("eps", 1e-9))
    deviation = graph.node("Add", deviation, epsilon)
    return [graph.node("Div", centred, deviation, name=layer.tops[0])]


def _arg_max(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, tensor = layer.part("argmax"), inputs[0]
    if fields.integer("top_k", 1) != 1 or fields.flag("out_max_val"):
        graph.fail("top_k above 1 and out_max_val are not supported.")
    if "axis" in fields:
        best = graph.node("ArgMax", tensor, axis=fields.integer("axis"), keepdims=1)
    else:
        best = graph.node("ArgMax", flatten(graph, tensor), axis=1, keepdims=1)
        best = graph.reshape(best, [0, 1, 1])
    return [graph.node("Cast", best, name=layer.tops[0], to=1)]


def _reduction(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, tensor = layer.part("reduction"), inputs[0]
    axes = list(range(fields.integer("axis") % graph.rank(tensor), graph.rank(tensor)))
    kind = fields.word("operation", "SUM")
    if kind in ("ASUM", "2"):
        tensor = graph.node("Abs", tensor)
    elif kind in ("SUMSQ", "3"):
        tensor = graph.node("Mul", tensor, tensor)
    elif kind not in ("SUM", "1", "MEAN", "4"):
        graph.fail(f"its operation is {kind}; known are SUM, ASUM, SUMSQ and MEAN.")
    if kind in ("MEAN", "4"):
        value = graph.node("ReduceMean", tensor, axes=axes, keepdims=0)
    else:
        value = graph.node("ReduceSum", tensor, graph.ints(*axes), keepdims=0)
    return [_linear(graph, value, fields.number("coeff", 1.0), 0)]


LAYERS: dict[str, Handler] = {
    "AbsVal": _one("Abs"),
    "ArgMax": _arg_max,
    "Axpy": _axpy,
    "BNLL": _one("Softplus"),
    "Clip": _clip,
    "Dropout": _same,
    "ELU": _elu,
    "Eltwise": _eltwise,
    "Exp": _exp,
    "Log": _log,
    "MVN": _mvn,
    "Mish": _mish,
    "Power": _power,
    "ReLU": _relu,
    "ReLU6": _clip,
    "Reduction": _reduction,
    "Sigmoid": _one("Sigmoid"),
    "Softmax": _softmax,
    "SoftmaxWithLoss": _softmax,
    "Split": _same,
    "Swish": _swish,
    "TanH": _one("Tanh"),
    "Threshold": _threshold,
}
