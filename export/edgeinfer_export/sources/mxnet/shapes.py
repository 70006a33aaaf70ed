"""MXNet's operators that move values or change the size of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgeinfer_export.sources.legacy import moves, ops
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.mxnet.node import Node


def _concat(graph: Graph, node: Node) -> list[str]:
    return [moves.concat(graph, node.inputs, node.attributes.integer("dim", 1), node.name)]


def _stack(graph: Graph, node: Node) -> list[str]:
    axis = node.attributes.integer("axis")
    parts = [graph.node("Unsqueeze", item, graph.ints(axis)) for item in node.inputs]
    return [moves.concat(graph, parts, axis, node.name)]


def _flatten(graph: Graph, node: Node) -> list[str]:
    tensor = node.inputs[0]
    return [tensor if graph.rank(tensor) == 2 else ops.flatten(graph, tensor, name=node.name)]


def wanted_shape(graph: Graph, shape: Sequence[int], codes: Sequence[int]) -> list[int]:
    """What MXNet's special numbers ask for: 0 keeps, -2 keeps the rest, -3 joins, -4 splits."""
    found: list[int] = []
    place = position = 0
    while position < len(codes):
        code = codes[position]
        left = len(shape) - place
        needed = {0: 1, -3: 2, -4: 1}.get(code, 0)
        if left < needed or code < -4 or (code == -4 and position + 2 >= len(codes)):
            graph.fail(f"the shape {list(shape)} does not become {list(codes)}.")
        if code == -4:
            first, second = codes[position + 1 : position + 3]
            known = second if first == -1 else first
            rest = shape[place] // known if known > 0 else -1
            found += [rest if first == -1 else first, rest if second == -1 else second]
            position += 2
            place += 1
        elif code == -2:
            found += shape[place:]
            place = len(shape)
        elif code == -3:
            found.append(shape[place] * shape[place + 1])
            place += 2
        else:
            found.append(shape[place] if code == 0 else code)
            place += 1
        position += 1
    return found


def _reshape(graph: Graph, node: Node) -> list[str]:
    codes = node.attributes.integers("shape") or node.attributes.integers("target_shape")
    shape = graph.sizes(node.inputs[0])
    if not codes:
        graph.fail("it names no shape.")
    if node.attributes.flag("reverse"):
        wanted = wanted_shape(graph, shape[::-1], codes[::-1])[::-1]
    else:
        wanted = wanted_shape(graph, shape, codes)
    return [moves.reshape(graph, node.inputs[0], wanted, node.name)]


def _transpose(graph: Graph, node: Node) -> list[str]:
    rank = graph.rank(node.inputs[0])
    order = node.attributes.integers("axes") or tuple(reversed(range(rank)))
    order = tuple(axis % rank for axis in order)
    if sorted(order) != list(range(rank)):
        graph.fail(f"its axes {order} are none of {rank} dimensions.")
    return [graph.node("Transpose", node.inputs[0], name=node.name, perm=order)]


def _swap(graph: Graph, node: Node) -> list[str]:
    order = list(range(graph.rank(node.inputs[0])))
    one, two = node.attributes.integer("dim1"), node.attributes.integer("dim2")
    if max(one, two) >= len(order):
        graph.fail(f"it swaps {one} and {two} of {len(order)} dimensions.")
    order[one], order[two] = order[two], order[one]
    return [graph.node("Transpose", node.inputs[0], name=node.name, perm=order)]


def _expand_dims(graph: Graph, node: Node) -> list[str]:
    axis = graph.ints(node.attributes.integer("axis"))
    return [graph.node("Unsqueeze", node.inputs[0], axis, name=node.name)]


def _squeeze(graph: Graph, node: Node) -> list[str]:
    axes = node.attributes.integers("axis")
    given = (graph.ints(*axes),) if axes else ()
    return [graph.node("Squeeze", node.inputs[0], *given, name=node.name)]


def _split(graph: Graph, node: Node) -> list[str]:
    tensor, attributes = node.inputs[0], node.attributes
    count, axis = attributes.integer("num_outputs", 1), attributes.integer("axis", 1)
    size = graph.sizes(tensor)[axis]
    if count < 1 or size % count:
        graph.fail(f"{size} values do not divide into {count} parts.")
    parts = [tensor]
    if count > 1:
        sizes = graph.ints(*[size // count] * count)
        parts = graph.nodes("Split", [tensor, sizes], [node.name] * count, axis=axis)
    if attributes.flag("squeeze_axis"):
        parts = [graph.node("Squeeze", part, graph.ints(axis)) for part in parts]
    return parts


def _cut(
    graph: Graph,
    node: Node,
    axes: Sequence[int],
    begins: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int],
) -> list[str]:
    bounds = [graph.ints(*values) for values in (begins, ends, axes, steps)]
    return [graph.node("Slice", node.inputs[0], *bounds, name=node.name)]


def _slice_axis(graph: Graph, node: Node) -> list[str]:
    attributes = node.attributes
    axis, begin = attributes.integer("axis"), attributes.integer("begin")
    end = attributes.integer("end", graph.sizes(node.inputs[0])[axis])
    return _cut(graph, node, [axis], [begin], [end], [1])


def _slice(graph: Graph, node: Node) -> list[str]:
    begins, ends = (node.attributes.optional(name) for name in ("begin", "end"))
    steps = node.attributes.optional("step") or [None] * len(begins)
    shape = graph.sizes(node.inputs[0])
    if not len(begins) == len(ends) == len(steps) <= len(shape):
        graph.fail(f"it cuts {begins} to {ends} out of the shape {list(shape)}.")
    if any(step is not None and step < 1 for step in steps):
        graph.fail("steps backwards are not supported.")
    return _cut(
        graph,
        node,
        range(len(begins)),
        [item or 0 for item in begins],
        [shape[axis] if item is None else item for axis, item in enumerate(ends)],
        [step or 1 for step in steps],
    )


def _slice_like(graph: Graph, node: Node) -> list[str]:
    wanted, rank = graph.sizes(node.inputs[1]), graph.rank(node.inputs[0])
    axes = [axis % rank for axis in node.attributes.integers("axes")] or list(range(rank))
    ends = [wanted[axis] for axis in axes]
    return _cut(graph, node, axes, [0] * len(axes), ends, [1] * len(axes))


def _crop(graph: Graph, node: Node) -> list[str]:
    """The old operator, which cuts a picture to another's size."""
    attributes, shape = node.attributes, graph.sizes(node.inputs[0])
    size = attributes.pair("h_w", 0)
    if len(node.inputs) == 2:
        size = (graph.sizes(node.inputs[1])[2], graph.sizes(node.inputs[1])[3])
    begins = attributes.pair("offset", 0)
    if attributes.flag("center_crop"):
        begins = ((shape[2] - size[0]) // 2, (shape[3] - size[1]) // 2)
    ends = [begins[0] + size[0], begins[1] + size[1]]
    if min(begins) < 0 or ends[0] > shape[2] or ends[1] > shape[3]:
        graph.fail(f"it cuts {size} at {begins} out of the shape {list(shape)}.")
    return _cut(graph, node, [2, 3], begins, ends, [1, 1])


def _pad(graph: Graph, node: Node) -> list[str]:
    widths, mode = node.attributes.integers("pad_width"), node.attributes.word("mode", "constant")
    rank = graph.rank(node.inputs[0])
    if len(widths) != 2 * rank or mode not in ("constant", "edge", "reflect") or min(widths) < 0:
        graph.fail(f"its pad_width is {widths} for {rank} dimensions, its mode {mode}.")
    pads = graph.ints(*widths[::2], *widths[1::2])
    value = (graph.weight(node.attributes.number("constant_value")),) if mode == "constant" else ()
    return [graph.node("Pad", node.inputs[0], pads, *value, name=node.name, mode=mode)]


def _upsampling(graph: Graph, node: Node) -> list[str]:
    attributes, scale = node.attributes, node.attributes.integer("scale", 1)
    if not 1 <= scale <= 64:
        graph.fail(f"its scale is {scale}.")
    if attributes.word("sample_type", "nearest") == "bilinear":
        weight = node.parameter(graph, 1, "weight")
        pad = math.ceil((scale - 1) / 2)
        size = 2 * scale - scale % 2
        window = ops.Window((size, size), (scale, scale), (pad,) * 4)
        groups = len(weight)
        made = ops.deconvolve(
            graph, node.inputs[0], weight, None, window, groups=groups, name=node.name
        )
        return [made]
    height, width = (size * scale for size in graph.hw(node.inputs[0]))
    parts = [
        ops.resize(graph, item, (height, width), mode="nearest", coordinates="asymmetric")
        for item in node.inputs
    ]
    if attributes.word("multi_input_mode", "concat") == "sum" and len(parts) > 1:
        return [graph.node("Sum", *parts, name=node.name)]
    return [moves.concat(graph, parts, 1, node.name)]


def _bilinear_resize(graph: Graph, node: Node) -> list[str]:
    attributes = node.attributes
    height, width = graph.hw(node.inputs[0])
    if attributes.word("mode", "size") not in ("size", "like"):
        graph.fail(f"its mode is {attributes.word('mode')}; size and like are supported.")
    if "scale_height" in attributes:
        height = int(height * attributes.number("scale_height"))
        width = int(width * attributes.number("scale_width"))
    elif len(node.inputs) > 1:
        height, width = graph.hw(node.inputs[1])
    else:
        height, width = attributes.integer("height", 1), attributes.integer("width", 1)
    corners = attributes.flag("align_corners", True)
    how = "align_corners" if corners else "half_pixel"
    return [
        ops.resize(
            graph,
            node.inputs[0],
            (height, width),
            mode="linear",
            coordinates=how,
            name=node.name,
        )
    ]


def _cast(graph: Graph, node: Node) -> list[str]:
    import onnx

    name = node.attributes.word("dtype", "float32")
    # Half precision was the box's choice; export makes its own.
    name = "float32" if name in ("float16", "float64") else name
    try:
        code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(name))
    except (TypeError, KeyError):
        graph.fail(f"its dtype is {name}.")
    return [graph.node("Cast", node.inputs[0], name=node.name, to=code)]


OPERATORS: dict[str, Callable[[Graph, Node], list[str]]] = {
    "Cast": _cast,
    "Concat": _concat,
    "Crop": _crop,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "SliceChannel": _split,
    "SwapAxis": _swap,
    "UpSampling": _upsampling,
    "_contrib_BilinearResize2D": _bilinear_resize,
    "cast": _cast,
    "concat": _concat,
    "expand_dims": _expand_dims,
    "flatten": _flatten,
    "pad": _pad,
    "reshape": _reshape,
    "slice": _slice,
    "slice_axis": _slice_axis,
    "slice_like": _slice_like,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "swapaxes": _swap,
    "transpose": _transpose,
}
