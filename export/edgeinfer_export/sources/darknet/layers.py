"""Darknet's layers, all but those that end in boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.darknet.network import Section, Weights
from edgeinfer_export.sources.legacy import moves, ops
from edgeinfer_export.sources.legacy.graph import Graph

# What keeps the root of a variance from being zero. The forks of Darknet differ in it.
_EPSILON = 1e-6


@dataclass(eq=False)
class Net:
    """A network under construction.

    Attributes:
        graph: what was converted so far.
        weights: what is left of the weights.
        where: the description's file name.
        tensors: what each layer gives.
        boxes: decoded rows of each detection layer.
        grids: how each of them was decoded, for an independent reader.
    """

    graph: Graph
    weights: Weights
    where: str
    tensors: list[str] = field(default_factory=list)
    boxes: list[str] = field(default_factory=list)
    grids: list[dict[str, Any]] = field(default_factory=list)

    @property
    def last(self) -> str:
        """What the layer before gives."""
        return self.tensors[-1] if self.tensors else self.graph.inputs[0]

    def other(self, section: Section, number: float) -> str:
        """What another layer gives: by its number, or counted back from this one."""
        index = int(number) if number >= 0 else section.index + int(number)
        if not 0 <= index < section.index:
            self.graph.fail(
                f"it refers to layer {int(number)}, which is none of the {section.index} before it."
            )
        return self.tensors[index]

    def take(self, section: Section, count: int) -> Array:
        """The next weights of the file."""
        return self.weights.take(count, self.where, section.place)


def activate(net: Net, section: Section, tensor: str, default: str = "linear") -> str:
    """The activation that a layer names."""
    graph, name = net.graph, section.word("activation", default)
    if name == "linear":
        return tensor
    simple = {"relu": "Relu", "logistic": "Sigmoid", "tanh": "Tanh", "elu": "Elu"}
    if name in simple:
        return graph.node(simple[name], tensor)
    if name == "leaky":
        return graph.node("LeakyRelu", tensor, alpha=0.1)
    if name == "relu6":
        return graph.node("Clip", tensor, graph.weight(0.0), graph.weight(6.0))
    if name == "swish":
        return graph.node("Mul", tensor, graph.node("Sigmoid", tensor))
    if name == "mish":
        return graph.node("Mul", tensor, graph.node("Tanh", graph.node("Softplus", tensor)))
    known = ", ".join(sorted((*simple, "linear", "leaky", "relu6", "swish", "mish")))
    return graph.fail(f"the activation '{name}' is not supported. Supported: {known}.")


def _size(section: Section, name: str, default: int) -> ops.Pair:
    """A size that may be given for each direction."""
    both = section.integer(name, default)
    return section.integer(f"{name}_y", both), section.integer(f"{name}_x", both)


def _folded(net: Net, section: Section, count: int, normalized: bool) -> tuple[Array, Array]:
    """Bias and factor of each output: batch normalization with what it was trained to."""
    bias = net.take(section, count)
    if not normalized:
        return bias, np.ones(count, np.float32)
    with np.errstate(all="ignore"):
        scale, mean, variance = (net.take(section, count).astype(np.float64) for _ in range(3))
    return _normalized(bias, scale, mean, variance)


def _normalized(bias: Array, scale: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
    # What is damaged may be anything; the graph then computes that, too.
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(np.maximum(variance, 0) + _EPSILON)
        return (bias - mean * factor).astype(np.float32), factor


def _convolutional(net: Net, section: Section) -> str:
    graph, tensor = net.graph, net.last
    channels = graph.sizes(tensor)[1]
    out, groups = section.integer("filters", 1), section.integer("groups", 1)
    size = section.integer("size", 1)
    for odd in ("share_index", "antialiasing", "flipped", "binary", "xnor", "rotate", "deform"):
        if section.integer(odd, -1 if odd == "share_index" else 0) > 0:
            graph.fail(f"{odd} is not supported.")
    padding = size // 2 if section.integer("pad") else section.integer("padding")
    dilation = section.integer("dilation", 1)
    # Darknet pads by the size that the taps of a dilated kernel cover.
    padding = padding * dilation
    window = ops.Window((size, size), _size(section, "stride", 1), (padding,) * 4, (dilation,) * 2)
    window.check(graph)
    if groups < 1 or out < 1 or channels % groups or out % groups:
        graph.fail(f"{channels} channels to {out} filters in {groups} groups.")
    bias, factor = _folded(net, section, out, section.integer("batch_normalize") > 0)
    weight = net.take(section, out * (channels // groups) * size * size)
    weight = weight.reshape(out, channels // groups, size, size)
    with np.errstate(all="ignore"):
        weight = (weight * factor[:, None, None, None]).astype(np.float32)
    name = f"conv_{section.index}"
    made = ops.convolve(graph, tensor, weight, bias, window, groups=groups, name=name)
    return activate(net, section, made, "logistic")


def _connected(net: Net, section: Section) -> str:
    graph, tensor = net.graph, net.last
    out = section.integer("output", 1)
    if graph.rank(tensor) > 2:
        tensor = ops.flatten(graph, tensor)
    size = graph.sizes(tensor)[1]
    if out < 1:
        graph.fail(f"its output is {out}.")
    bias = net.take(section, out)
    weight = net.take(section, out * size)
    weight = weight.reshape(size, out).T if net.weights.transposed else weight.reshape(out, size)
    if section.integer("batch_normalize"):
        scale, mean, variance = (net.take(section, out).astype(np.float64) for _ in range(3))
        bias, factor = _normalized(bias, scale, mean, variance)
        with np.errstate(all="ignore"):
            weight = (weight * factor[:, None]).astype(np.float32)
    made = ops.dense(graph, tensor, weight, bias, name=f"connected_{section.index}")
    return activate(net, section, made, "logistic")


def _maxpool(net: Net, section: Section) -> str:
    graph, tensor = net.graph, net.last
    if section.integer("maxpool_depth") or section.integer("antialiasing"):
        graph.fail("maxpool_depth and antialiasing are not supported.")
    stride = _size(section, "stride", 1)
    size = section.integer("size", stride[0])
    padding = section.integer("padding", size - 1)
    before, after = padding // 2, padding - padding // 2
    window = ops.Window((size, size), stride, (before, before, after, after))
    window.check(graph)
    height, width = graph.hw(tensor)
    out = [(edge + padding - size) // stride[i] + 1 for i, edge in enumerate((height, width))]
    return ops.pool(graph, tensor, window, (out[0], out[1]), name=f"pool_{section.index}")


def _avgpool(net: Net, section: Section) -> str:
    return ops.pool_whole(net.graph, net.last, average=True, name=f"avgpool_{section.index}")


def _route(net: Net, section: Section) -> str:
    graph, numbers = net.graph, section.numbers("layers")
    if not numbers:
        graph.fail("it names no layers.")
    parts = [net.other(section, number) for number in numbers]
    groups, chosen = section.integer("groups", 1), section.integer("group_id")
    if groups > 1:
        sliced = []
        for part in parts:
            channels = graph.sizes(part)[1]
            if channels % groups or not 0 <= chosen < groups:
                graph.fail(f"group {chosen} of {groups} of {channels} channels.")
            edges = (chosen * channels // groups, (chosen + 1) * channels // groups)
            bounds = (graph.ints(edges[0]), graph.ints(edges[1]), graph.ints(1))
            sliced.append(graph.node("Slice", part, *bounds))
        parts = sliced
    return moves.concat(graph, parts, 1, f"route_{section.index}")


def _shortcut(net: Net, section: Section) -> str:
    graph, result = net.graph, net.last
    if section.word("weights_type", "none") != "none":
        graph.fail(f"weights_type={section.word('weights_type')} is not supported.")
    for number in section.numbers("from"):
        other = net.other(section, number)
        mine, theirs = graph.sizes(result), graph.sizes(other)
        if mine[2:] != theirs[2:]:
            graph.fail(f"shapes {list(mine)} and {list(theirs)} do not add up.")
        # Channels that only one of them has stay as they are here.
        if theirs[1] > mine[1]:
            bounds = (graph.ints(0), graph.ints(mine[1]), graph.ints(1))
            other = graph.node("Slice", other, *bounds)
        elif theirs[1] < mine[1]:
            zeros = np.zeros((mine[0], mine[1] - theirs[1], *mine[2:]))
            other = moves.concat(graph, [other, graph.weight(zeros)], 1)
        result = graph.node("Add", result, other, name=f"shortcut_{section.index}")
    return activate(net, section, result)


def _scale_channels(net: Net, section: Section) -> str:
    """Squeeze and excitation: factors per channel, times an earlier map."""
    graph = net.graph
    if section.integer("scale_wh"):
        graph.fail("scale_wh is not supported.")
    other = net.other(section, section.number("from"))
    factors, shape = graph.sizes(net.last), graph.sizes(other)
    if factors[1] != shape[1]:
        graph.fail(f"shapes {list(factors)} and {list(shape)} do not go together.")
    name = f"scale_channels_{section.index}"
    return activate(net, section, graph.node("Mul", net.last, other, name=name))


def _sam(net: Net, section: Section) -> str:
    """Spatial attention: a map of factors, times an earlier map."""
    graph, other = net.graph, net.other(section, section.number("from"))
    if graph.sizes(net.last) != graph.sizes(other):
        graph.fail("its two maps have different shapes.")
    return activate(net, section, graph.node("Mul", net.last, other, name=f"sam_{section.index}"))


def _upsample(net: Net, section: Section) -> str:
    graph, stride = net.graph, section.integer("stride", 2)
    if stride < 1 or section.number("scale", 1) != 1:
        graph.fail(f"stride {stride} with scale {section.word('scale', '1')} is not supported.")
    height, width = (size * stride for size in graph.hw(net.last))
    return ops.resize(
        graph,
        net.last,
        (height, width),
        mode="nearest",
        coordinates="asymmetric",
        name=f"upsample_{section.index}",
    )


def _reorg(net: Net, section: Section) -> str:
    if section.integer("reverse") or section.integer("flatten") or section.integer("extra"):
        net.graph.fail("reverse, flatten and extra are not supported.")
    stride = section.integer("stride", 1)
    return moves.reorg(net.graph, net.last, stride, f"reorg_{section.index}")


def _softmax(net: Net, section: Section) -> str:
    graph, tensor = net.graph, net.last
    if section.integer("groups", 1) != 1 or section.word("tree") or section.integer("spatial"):
        graph.fail("groups, tree and spatial are not supported.")
    if graph.rank(tensor) > 2:
        tensor = ops.flatten(graph, tensor)
    temperature = section.number("temperature", 1.0)
    if temperature != 1:
        tensor = graph.node("Div", tensor, graph.weight(temperature))
    return graph.node("Softmax", tensor, name=f"softmax_{section.index}", axis=1)


def _activation(net: Net, section: Section) -> str:
    return activate(net, section, net.last)


def _same(net: Net, section: Section) -> str:
    """Dropout and cost count in training only."""
    return net.last


LAYERS: dict[str, Callable[[Net, Section], str]] = {
    "activation": _activation,
    "avgpool": _avgpool,
    "connected": _connected,
    "conv": _convolutional,
    "convolutional": _convolutional,
    "cost": _same,
    "dropout": _same,
    "max": _maxpool,
    "maxpool": _maxpool,
    "reorg": _reorg,
    "reorg_old": _reorg,
    "route": _route,
    "sam": _sam,
    "scale_channels": _scale_channels,
    "shortcut": _shortcut,
    "softmax": _softmax,
    "upsample": _upsample,
}
