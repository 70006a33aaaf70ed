"""Caffe's pooling and local response normalization."""

from __future__ import annotations

from collections.abc import Callable

from edgeinfer_export.sources.caffe.network import Layer
from edgeinfer_export.sources.caffe.weighted import window_of
from edgeinfer_export.sources.legacy import ops
from edgeinfer_export.sources.legacy.graph import Graph

_AVERAGE = {"MAX": False, "0": False, "AVE": True, "1": True}


def _pooling(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, name = layer.part("pooling"), layer.tops[0]
    average = _AVERAGE.get(fields.word("pool", "MAX"))
    if average is None:
        graph.fail(f"its pool is {fields.word('pool')}; MAX and AVE are supported.")
    if graph.rank(inputs[0]) != 4:
        graph.fail(f"its input has the shape {list(graph.shape(inputs[0]))}, and is no picture.")
    if fields.flag("global_pooling"):
        return [ops.pool_whole(graph, inputs[0], average=average, name=name)]
    window = window_of(graph, fields)
    window.check(graph)
    # Caffe rounds up; its later versions let the file choose.
    ceil = fields.flag("ceil_mode", True) and fields.word("round_mode", "CEIL") in ("CEIL", "0")
    sizes = graph.hw(inputs[0])
    out = [ops.pooled_size(sizes[i], window, i, ceil, clip=True) for i in (0, 1)]
    return [ops.pool(graph, inputs[0], window, (out[0], out[1]), average=average, name=name)]


def _lrn(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, name = layer.part("lrn"), layer.tops[0]
    size = fields.integer("local_size", 5)
    alpha, beta, k = fields.number("alpha", 1), fields.number("beta", 0.75), fields.number("k", 1)
    if size < 1 or size % 2 == 0:
        graph.fail(f"its local_size is {size}, not an odd number.")
    if fields.word("norm_region", "ACROSS_CHANNELS") in ("ACROSS_CHANNELS", "0"):
        settings = {"size": size, "alpha": alpha, "beta": beta, "bias": k}
        return [graph.node("LRN", inputs[0], name=name, **settings)]
    window = ops.Window((size, size), pads=(size // 2,) * 4)
    height, width = graph.hw(inputs[0])
    squares = graph.node("Mul", inputs[0], inputs[0])
    mean = ops.pool(graph, squares, window, (height, width), average=True)
    scaled = graph.node("Mul", mean, graph.weight(alpha))
    base = graph.node("Add", scaled, graph.weight(1.0))
    return [graph.node("Mul", inputs[0], graph.node("Pow", base, graph.weight(-beta)), name=name)]


LAYERS: dict[str, Callable[[Graph, Layer, list[str]], list[str]]] = {
    "LRN": _lrn,
    "Pooling": _pooling,
}
