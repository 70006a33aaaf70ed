"""Paddle's operators that work on one value at a time, on pairs, or along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer_export.sources.legacy.ops import at_least
from edgeinfer_export.sources.paddle.step import Step

Handler = Callable[[Step], None]
# From here on float32 does not tell log(1 + exp(x)) from x.
_NEARLY_STRAIGHT = 17.0


def _one(op: str, **names: Any) -> Handler:
    """An operator that is one of ONNX.

    Args:
        names: ONNX attribute to Paddle's, and its default.
    """

    def handler(step: Step) -> None:
        settings = {ours: step.number(*theirs) for ours, theirs in names.items()}
        step.give(step.graph.node(op, step.one("X"), name=step.name, **settings))

    return handler


def _same(step: Step) -> None:
    step.give(step.one("X"))


def _dropout(step: Step) -> None:
    """What is left of dropout at inference: fluid scales down unless it scaled up in training."""
    tensor = step.one("X")
    if step.word("dropout_implementation", "downgrade_in_infer") == "downgrade_in_infer":
        kept = step.graph.weight(1 - step.number("dropout_prob", 0.5))
        tensor = step.graph.node("Mul", tensor, kept, name=step.name)
    step.give(tensor)


def _two(op: str) -> Handler:
    """An operator of two tensors, of which the second may start at an axis of the first."""

    def handler(step: Step) -> None:
        graph, one, two = step.graph, step.one("X"), step.one("Y")
        axis = step.integer("axis", -1)
        after = graph.rank(one) - axis - graph.rank(two)
        if axis >= 0 and after > 0 and graph.rank(two):
            two = graph.reshape(two, [*graph.sizes(two), *[1] * after])
        step.give(graph.node(op, one, two, name=step.name))

    return handler


def _scale(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    if graph.is_integer(tensor):
        tensor = graph.node("Cast", tensor, to=1)
    factor, shift = step.number("scale", 1.0), step.number("bias")
    scale = graph.weight(factor)
    if step.has("ScaleTensor"):
        scale, factor = step.one("ScaleTensor"), 0.0
    after = step.flag("bias_after_scale", True)
    if shift and not after:
        tensor = graph.node("Add", tensor, graph.weight(shift))
    if factor != 1:
        tensor = graph.node("Mul", tensor, scale, name=step.name)
    if shift and after:
        tensor = graph.node("Add", tensor, graph.weight(shift), name=step.name)
    step.give(tensor)


def _clip(step: Step) -> None:
    limits = []
    for name, tensor in (("min", "Min"), ("max", "Max")):
        limits.append(
            step.one(tensor) if step.has(tensor) else step.graph.weight(step.number(name))
        )
    step.give(step.graph.node("Clip", step.one("X"), *limits, name=step.name))


def _relu6(step: Step) -> None:
    limits = step.graph.weight(0.0), step.graph.weight(step.number("threshold", 6.0))
    step.give(step.graph.node("Clip", step.one("X"), *limits, name=step.name))


def _hard_swish(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    shifted = graph.node("Add", tensor, graph.weight(step.number("offset", 3.0)))
    limits = graph.weight(0.0), graph.weight(step.number("threshold", 6.0))
    gate = graph.node("Clip", shifted, *limits)
    product = graph.node("Mul", tensor, gate)
    step.give(graph.node("Div", product, graph.weight(step.number("scale", 6.0)), name=step.name))


def _swish(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    beta, gate = step.number("beta", 1.0), tensor
    if beta != 1:
        gate = graph.node("Mul", gate, graph.weight(beta))
    step.give(graph.node("Mul", tensor, graph.node("Sigmoid", gate), name=step.name))


def _mish(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    gate = graph.node("Tanh", graph.node("Softplus", tensor))
    step.give(graph.node("Mul", tensor, gate, name=step.name))


def _gelu(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    if step.flag("approximate"):
        cube = graph.node("Mul", graph.node("Mul", tensor, tensor), tensor)
        inner = graph.node("Add", tensor, graph.node("Mul", cube, graph.weight(0.044715)))
        curve = graph.node("Tanh", graph.node("Mul", inner, graph.weight(np.sqrt(2 / np.pi))))
    else:
        curve = graph.node("Erf", graph.node("Div", tensor, graph.weight(np.sqrt(2.0))))
    half = graph.node("Mul", tensor, graph.weight(0.5))
    step.give(graph.node("Mul", half, graph.node("Add", curve, graph.weight(1.0)), name=step.name))


def _softplus(step: Step) -> None:
    """log(1 + exp(beta * x)) / beta; x itself from a threshold of beta * x on."""
    graph, tensor, beta = step.graph, step.one("X"), step.number("beta", 1.0)
    scaled = tensor if beta == 1 else graph.node("Mul", tensor, graph.weight(beta))
    made = graph.node("Softplus", scaled)
    if beta != 1:
        made = graph.node("Div", made, graph.weight(beta))
    limit = step.number("threshold", 20.0)
    if limit < _NEARLY_STRAIGHT:
        beyond = graph.node("Greater", scaled, graph.weight(limit))
        made = graph.node("Where", beyond, tensor, made)
    step.give(made)


def _square(step: Step) -> None:
    step.give(step.graph.node("Mul", step.one("X"), step.one("X"), name=step.name))


def _rsqrt(step: Step) -> None:
    root = step.graph.node("Sqrt", step.one("X"))
    step.give(step.graph.node("Reciprocal", root, name=step.name))


def _pow(step: Step) -> None:
    factor = step.graph.weight(step.number("factor", 1.0))
    step.give(step.graph.node("Pow", step.one("X"), factor, name=step.name))


def _softmax(step: Step) -> None:
    op = "LogSoftmax" if step.operator.kind == "log_softmax" else "Softmax"
    axis = step.integer("axis", -1)
    step.give(step.graph.node(op, step.one("X"), name=step.name, axis=axis))


def _reduce(op: str) -> Handler:
    """Mean, sum or extremes over dimensions."""

    def handler(step: Step) -> None:
        graph, tensor = step.graph, step.one("X")
        rank = graph.rank(tensor)
        axes = sorted({axis % rank for axis in step.integers("dim")})
        if step.flag("reduce_all") or not axes:
            axes = list(range(rank))
        keep = int(step.flag("keep_dim"))
        if op == "ReduceSum":
            made = graph.node(op, tensor, graph.ints(*axes), name=step.name, keepdims=keep)
        else:
            made = graph.node(op, tensor, name=step.name, axes=axes, keepdims=keep)
        step.give(made)

    return handler


def _arg_max(step: Step) -> None:
    op = {"arg_max": "ArgMax", "arg_min": "ArgMin"}[step.operator.kind]
    keep = int(step.flag("keepdims"))
    if step.flag("flatten"):
        step.graph.fail("flatten is not supported.")
    axis = step.integer("axis", -1)
    step.give(step.graph.node(op, step.one("X"), name=step.name, axis=axis, keepdims=keep))


def _norm(step: Step) -> None:
    """Vectors of length one."""
    graph, tensor = step.graph, step.one("X")
    axes = graph.ints(step.integer("axis", 1))
    total = graph.node("ReduceSum", graph.node("Mul", tensor, tensor), axes)
    shifted = graph.node("Add", total, graph.weight(step.number("epsilon", 1e-10)))
    step.give(graph.node("Div", tensor, graph.node("Sqrt", shifted), name=step.name))


def _p_norm(step: Step) -> None:
    """The length of vectors."""
    graph, tensor, order = step.graph, step.one("X"), step.number("porder", 2.0)
    if order != 2 or step.flag("asvector"):
        over = "all values" if step.flag("asvector") else "an axis"
        graph.fail(f"its porder is {order:g} over {over}; 2 over an axis is supported.")
    keep = int(step.flag("keepdim"))
    axes = graph.ints(step.integer("axis", -1))
    total = graph.node("ReduceSum", graph.node("Mul", tensor, tensor), axes, keepdims=keep)
    step.give(graph.node("Sqrt", total, name=step.name))


def _top_k(step: Step) -> None:
    graph, count = step.graph, step.integer("k", 1)
    if step.has("K"):
        count = int(step.parameter("K").reshape(-1)[0])
    settings = {name: int(step.flag(name, True)) for name in ("largest", "sorted")}
    axis = step.integer("axis", -1)
    best, numbers = graph.nodes(
        "TopK", [step.one("X"), graph.ints(count)], [step.name, "numbers"], axis=axis, **settings
    )
    step.give(best)
    step.give(numbers, "Indices")


def _brelu(step: Step) -> None:
    limits = [step.graph.weight(step.number(*end)) for end in (("t_min", 0.0), ("t_max", 24.0))]
    step.give(step.graph.node("Clip", step.one("X"), *limits, name=step.name))


def _greater_equal(step: Step) -> None:
    step.give(at_least(step.graph, step.one("X"), step.one("Y"), step.name))


def _less_equal(step: Step) -> None:
    step.give(at_least(step.graph, step.one("Y"), step.one("X"), step.name))


def _where(step: Step) -> None:
    names = [step.one(name) for name in ("Condition", "X", "Y")]
    step.give(step.graph.node("Where", *names, name=step.name))


def _sum(step: Step) -> None:
    step.give(step.graph.node("Sum", *step.all("X"), name=step.name))


_PAIRS = {
    "elementwise_add": "Add",
    "elementwise_div": "Div",
    "elementwise_max": "Max",
    "elementwise_min": "Min",
    "elementwise_mul": "Mul",
    "elementwise_pow": "Pow",
    "elementwise_sub": "Sub",
    "equal": "Equal",
    "greater_than": "Greater",
    "less_than": "Less",
}

OPERATORS: dict[str, Handler] = {
    **{name: _two(op) for name, op in _PAIRS.items()},
    "abs": _one("Abs"),
    "arg_max": _arg_max,
    "arg_min": _arg_max,
    "assign": _same,
    "brelu": _brelu,
    "ceil": _one("Ceil"),
    "clip": _clip,
    "cos": _one("Cos"),
    "dropout": _dropout,
    "elu": _one("Elu", alpha=("alpha", 1.0)),
    "erf": _one("Erf"),
    "exp": _one("Exp"),
    "floor": _one("Floor"),
    "gelu": _gelu,
    "greater_equal": _greater_equal,
    "hard_sigmoid": _one("HardSigmoid", alpha=("slope", 0.2), beta=("offset", 0.5)),
    "hard_swish": _hard_swish,
    "less_equal": _less_equal,
    "leaky_relu": _one("LeakyRelu", alpha=("alpha", 0.02)),
    "log": _one("Log"),
    "log_softmax": _softmax,
    "mean": _reduce("ReduceMean"),
    "mish": _mish,
    "norm": _norm,
    "p_norm": _p_norm,
    "pow": _pow,
    "reciprocal": _one("Reciprocal"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_mean": _reduce("ReduceMean"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_sum": _reduce("ReduceSum"),
    "relu": _one("Relu"),
    "relu6": _relu6,
    "rsqrt": _rsqrt,
    "scale": _scale,
    "selu": _one("Selu", alpha=("alpha", 1.6732632), gamma=("scale", 1.0507010)),
    "share_data": _same,
    "sigmoid": _one("Sigmoid"),
    "silu": _swish,
    "sin": _one("Sin"),
    "softmax": _softmax,
    "softplus": _softplus,
    "softsign": _one("Softsign"),
    "sqrt": _one("Sqrt"),
    "square": _square,
    "sum": _sum,
    "swish": _swish,
    "tanh": _one("Tanh"),
    "top_k": _top_k,
    "top_k_v2": _top_k,
    "where": _where,
}
