"""Caffe's layers that move values or change the size of pictures."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

from edgeinfer_export.sources.caffe.network import Layer
from edgeinfer_export.sources.legacy import moves, ops
from edgeinfer_export.sources.legacy.graph import Graph


def _concat(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("concat")
    axis = fields.integer("axis", fields.integer("concat_dim", 1))
    return [moves.concat(graph, inputs, axis, layer.tops[0])]


def _slice(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("slice")
    axis = fields.integer("axis", fields.integer("slice_dim", 1)) % graph.rank(inputs[0])
    size, count = graph.fixed(graph.shape(inputs[0])[axis], inputs[0]), len(layer.tops)
    points = fields.ints("slice_point")
    if not points:
        points = [size // count * number for number in range(1, count)]
        if size % count:
            graph.fail(f"{size} values do not divide into {count} parts.")
    edges = [0, *points, size]
    parts = [after - before for before, after in itertools.pairwise(edges)]
    if len(parts) != count or min(parts) < 1:
        graph.fail(f"its slice points {points} do not cut {size} values into {count} parts.")
    if count == 1:
        return [inputs[0]]
    return graph.nodes("Split", [inputs[0], graph.ints(*parts)], layer.tops, axis=axis)


def _flatten(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("flatten")
    axis, end = fields.integer("axis", 1), fields.integer("end_axis", -1)
    return [ops.flatten(graph, inputs[0], axis, end, layer.tops[0])]


def _reshape(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, shape = layer.part("reshape"), graph.shape(inputs[0])
    dims = fields.part("shape").ints("dim")
    start = fields.integer("axis")
    start = start + len(shape) + 1 if start < 0 else start
    count = fields.integer("num_axes", -1)
    end = len(shape) if count < 0 else start + count
    if not 0 <= start <= end <= len(shape):
        graph.fail(f"its axes {start} to {end} do not lie in the shape {list(shape)}.")
    wanted: list[int] = []
    for number, size in enumerate(dims):
        if size == 0 and start + number >= len(shape):
            graph.fail(f"it keeps dimension {start + number} of the shape {list(shape)}.")
        wanted.append(moves.kept(graph, inputs[0], start + number) if size == 0 else size)
    around = [moves.kept(graph, inputs[0], axis) for axis in range(start)]
    around += [graph.fixed(size, inputs[0]) for size in shape[end:]]
    full = [*around[:start], *wanted, *around[start:]]
    return [moves.reshape(graph, inputs[0], full, layer.tops[0])]


def _permute(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    order = layer.part("permute").ints("order")
    rank = graph.rank(inputs[0])
    order += [axis for axis in range(rank) if axis not in order]
    if sorted(order) != list(range(rank)):
        graph.fail(f"its order {order} is none of {rank} dimensions.")
    return [graph.node("Transpose", inputs[0], name=layer.tops[0], perm=order)]


def _crop(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("crop")
    if len(inputs) != 2:
        graph.fail(f"it has {len(inputs)} inputs, and needs 2.")
    shape, wanted = graph.sizes(inputs[0]), graph.sizes(inputs[1])
    axis = fields.integer("axis", 2) % len(shape)
    offsets = fields.ints("offset") or [0]
    axes = list(range(axis, len(shape)))
    starts = offsets * len(axes) if len(offsets) == 1 else offsets
    if len(starts) != len(axes) or len(wanted) != len(shape):
        graph.fail(f"its offsets {offsets} do not fit the shape {list(shape)} from axis {axis}.")
    ends = [start + wanted[item] for start, item in zip(starts, axes, strict=True)]
    if any(s < 0 or e > shape[a] for s, e, a in zip(starts, ends, axes, strict=True)):
        graph.fail(f"it cuts {starts} to {ends} out of the shape {list(shape)}.")
    bounds = (graph.ints(*starts), graph.ints(*ends), graph.ints(*axes))
    return [graph.node("Slice", inputs[0], *bounds, name=layer.tops[0])]


def _tile(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields, rank = layer.part("tile"), graph.rank(inputs[0])
    repeats = [1] * rank
    repeats[fields.integer("axis", 1) % rank] = fields.integer("tiles", 1)
    return [graph.node("Tile", inputs[0], graph.ints(*repeats), name=layer.tops[0])]


def _shuffle(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    groups = layer.part("shuffle_channel").integer("group", 1)
    return [moves.shuffle(graph, inputs[0], groups, layer.tops[0])]


def _reorg(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    fields = layer.part("reorg")
    if fields.flag("reverse"):
        graph.fail("reverse is not supported.")
    return [moves.reorg(graph, inputs[0], fields.integer("stride", 2), layer.tops[0])]


def _interp(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """Bilinear resizing with the corners aligned (DeepLab, PSPNet)."""
    fields = layer.part("interp")
    padding = fields.integer("pad_beg") + fields.integer("pad_end")
    if padding:
        graph.fail("pad_beg and pad_end are not supported.")
    height, width = graph.hw(inputs[0])
    if len(inputs) > 1:
        height, width = graph.hw(inputs[1])
    elif "height" in fields:
        height, width = fields.integer("height"), fields.integer("width")
    else:
        shrink, zoom = fields.integer("shrink_factor", 1), fields.integer("zoom_factor", 1)
        if shrink < 1 or zoom < 1:
            graph.fail(f"its factors are {shrink} and {zoom}.")
        height, width = ((size - 1) // shrink + 1 for size in (height, width))
        height, width = (size + (size - 1) * (zoom - 1) for size in (height, width))
    return [
        ops.resize(
            graph,
            inputs[0],
            (height, width),
            mode="linear",
            coordinates="align_corners",
            name=layer.tops[0],
        )
    ]


def _upsample(graph: Graph, layer: Layer, inputs: list[str]) -> list[str]:
    """Repetition of each pixel (YOLOv3's branch of Caffe)."""
    if len(inputs) != 1:
        graph.fail("upsampling by a mask of a pooling layer is not supported.")
    scale = layer.part("upsample").number("scale", 2)
    height, width = (math.floor(size * scale) for size in graph.hw(inputs[0]))
    return [
        ops.resize(
            graph,
            inputs[0],
            (height, width),
            mode="nearest",
            coordinates="asymmetric",
            name=layer.tops[0],
        )
    ]


LAYERS: dict[str, Callable[[Graph, Layer, list[str]], list[str]]] = {
    "Concat": _concat,
    "Crop": _crop,
    "Flatten": _flatten,
    "Interp": _interp,
    "Permute": _permute,
    "Reorg": _reorg,
    "Reshape": _reshape,
    "ShuffleChannel": _shuffle,
    "Slice": _slice,
    "Tile": _tile,
    "Upsample": _upsample,
}
