"""Operators that pick: slices, gathers, the best of many."""

from __future__ import annotations

import numpy as np

from edgeinfer_export.sources.tflite.graph import NCHW, PLAIN, Graph
from edgeinfer_export.sources.tflite.layouts import Made, as_made, axis_of, in_layout, int64
from edgeinfer_export.sources.tflite.model import Operator

_FAR = 1 << 40


def slice_op(graph: Graph, op: Operator) -> Made:
    """From a begin, as many as given; -1 is all that is left."""
    rank = len(graph.tensor(op.inputs[0]).shape)
    begins = graph.constant(op.inputs[1])
    sizes = graph.constant(op.inputs[2])
    if begins is None or sizes is None:
        first, count = int64(graph, op.inputs[1]), int64(graph, op.inputs[2])
        rest = graph.emit("Equal", [count, graph.ints(-1)])
        end = graph.emit("Add", [first, count])
        end = graph.emit("Where", [rest, graph.ints(_FAR), end])
        names = [graph.value(op.inputs[0]), first, end, graph.ints(*range(rank))]
        return [(graph.emit("Slice", names), PLAIN)]
    ends = [
        _FAR if size < 0 else int(begin) + int(size)
        for begin, size in zip(begins.ravel(), sizes.ravel(), strict=True)
    ]
    return _sliced(graph, op, [int(b) for b in begins.ravel()], ends, [1] * rank)


def strided_slice(graph: Graph, op: Operator) -> Made:
    """Python's slices: masks leave ends open, drop axes and add new ones."""
    found = [graph.need_constant(i, "bounds").ravel().tolist() for i in op.inputs[1:4]]
    masks = [0] * 5 if op.options is None else [op.options.number(slot) for slot in range(5)]
    begin_mask, end_mask, ellipsis, new_axis, shrink = masks
    if ellipsis or new_axis:
        raise graph.unsupported("it adds axes or has an ellipsis")
    begins, ends, strides, dropped = [], [], [], []
    for axis, (begin, end, stride) in enumerate(zip(*found, strict=True)):
        if shrink >> axis & 1:
            dropped.append(axis)
            stride, end = 1, begin + 1 if begin != -1 else _FAR
        else:
            if begin_mask >> axis & 1:
                begin = 0 if stride > 0 else _FAR
            if end_mask >> axis & 1:
                end = _FAR if stride > 0 else -_FAR
        begins.append(begin)
        ends.append(end)
        strides.append(stride)
    made = _sliced(graph, op, begins, ends, strides, plain=bool(dropped))
    if not dropped:
        return made
    return [(graph.emit("Squeeze", [made[0][0], graph.ints(*dropped)]), PLAIN)]


def _sliced(
    graph: Graph,
    op: Operator,
    begins: list[int],
    ends: list[int],
    strides: list[int],
    plain: bool = False,
) -> Made:
    name, layout = as_made(graph, op.inputs[0])
    if plain:
        name, layout = graph.value(op.inputs[0]), PLAIN
    axes = [
        axis
        for axis, (begin, end, stride) in enumerate(zip(begins, ends, strides, strict=True))
        if (begin, end, stride) != (0, _FAR, 1)
    ]
    if not axes:
        return [(graph.emit("Identity", [name]), layout)]
    bounds = [graph.ints(*[values[axis] for axis in axes]) for values in (begins, ends)]
    where = graph.ints(*[in_layout(axis, layout) for axis in axes])
    steps = graph.ints(*[strides[axis] for axis in axes])
    return [(graph.emit("Slice", [name, *bounds, where, steps]), layout)]


def gather(graph: Graph, op: Operator) -> Made:
    axis = 0 if op.options is None else op.options.number(0)
    if op.options is not None and op.options.number(1):
        raise graph.unsupported(f"it has {op.options.number(1)} axes of batch")
    axis = axis_of(graph, axis, len(graph.tensor(op.inputs[0]).shape))
    names = [graph.value(op.inputs[0]), graph.value(op.inputs[1])]
    return [(graph.emit("Gather", names, axis=axis), PLAIN)]


def embedding_lookup(graph: Graph, op: Operator) -> Made:
    """Rows of a table."""
    names = [graph.value(op.inputs[1]), graph.value(op.inputs[0])]
    return [(graph.emit("Gather", names, axis=0), PLAIN)]


def gather_nd(graph: Graph, op: Operator) -> Made:
    names = [graph.value(op.inputs[0]), int64(graph, op.inputs[1])]
    return [(graph.emit("GatherND", names), PLAIN)]


def arg(op_type: str) -> object:
    """Where the largest or smallest value lies along an axis."""

    def handler(graph: Graph, op: Operator) -> Made:
        axis = int(graph.need_constant(op.inputs[1], "axis").ravel()[0])
        axis = axis_of(graph, axis, len(graph.tensor(op.inputs[0]).shape))
        name = graph.emit(op_type, [graph.value(op.inputs[0])], axis=axis, keepdims=0)
        if graph.tensor(op.outputs[0]).dtype == "int32":
            name = graph.emit("Cast", [name], to=6)
        return [(name, PLAIN)]

    return handler


def topk_v2(graph: Graph, op: Operator) -> Made:
    count = graph.emit("Reshape", [int64(graph, op.inputs[1]), graph.ints(1)])
    base = graph.tensor(op.outputs[0]).name
    values, places = graph.emit_many(
        "TopK", [graph.value(op.inputs[0]), count], [f"{base}/values", f"{base}/places"], axis=-1
    )
    if len(op.outputs) > 1 and graph.tensor(op.outputs[1]).dtype == "int32":
        places = graph.emit("Cast", [places], to=6)
    return [(values, PLAIN), (places, PLAIN)]


def one_hot(graph: Graph, op: Operator) -> Made:
    axis = -1 if op.options is None else op.options.number(0)
    on, off = (graph.emit("Reshape", [graph.value(i), graph.ints(1)]) for i in op.inputs[2:4])
    values = graph.emit("Concat", [off, on], axis=0)
    names = [int64(graph, op.inputs[0]), int64(graph, op.inputs[1]), values]
    return [(graph.emit("OneHot", names, axis=axis), PLAIN)]


def reverse_v2(graph: Graph, op: Operator) -> Made:
    axes = [int(axis) for axis in graph.need_constant(op.inputs[1], "axes").ravel()]
    count = len(axes)
    names = [
        graph.value(op.inputs[0]),
        graph.ints(*[-1] * count),
        graph.ints(*[-_FAR] * count),
        graph.ints(*axes),
        graph.ints(*[-1] * count),
    ]
    return [(graph.emit("Slice", names), PLAIN)]


def cumsum(graph: Graph, op: Operator) -> Made:
    flags = (0, 0) if op.options is None else (int(op.options.flag(0)), int(op.options.flag(1)))
    names = [graph.value(op.inputs[0]), graph.value(op.inputs[1])]
    return [(graph.emit("CumSum", names, exclusive=flags[0], reverse=flags[1]), PLAIN)]


def where_op(graph: Graph, op: Operator) -> Made:
    """Places of what is not zero, one a row."""
    found = graph.emit("NonZero", [graph.value(op.inputs[0])])
    return [(graph.emit("Transpose", [found], perm=[1, 0]), PLAIN)]


def reduce(op_type: str) -> object:
    """Sum, mean, largest, smallest or product over axes."""

    def handler(graph: Graph, op: Operator) -> Made:
        rank = len(graph.tensor(op.inputs[0]).shape)
        named = graph.need_constant(op.inputs[1], "axes").ravel()
        axes = sorted({axis_of(graph, int(axis), rank) for axis in named})
        keep = op.options is not None and op.options.flag(0)
        name, layout = as_made(graph, op.inputs[0])
        if layout == NCHW and not keep and axes != [1, 2]:
            name, layout = graph.value(op.inputs[0]), PLAIN
        if op_type == "ReduceMean" and layout == NCHW and axes == [1, 2]:
            pooled = graph.emit("GlobalAveragePool", [name])
            if keep:
                return [(pooled, NCHW)]
            return [(graph.emit("Squeeze", [pooled, graph.ints(2, 3)]), PLAIN)]
        where = [in_layout(axis, layout) for axis in axes]
        if op_type == "ReduceSum":  # axes became an input there first
            made = graph.emit(op_type, [name, graph.ints(*where)], keepdims=int(keep))
        else:
            made = graph.emit(op_type, [name], axes=where, keepdims=int(keep))
        return [(made, layout if keep else PLAIN)]

    return handler


def resize(mode: str) -> object:
    """Another size of a picture; how pixels are placed is in two flags."""

    def handler(graph: Graph, op: Operator) -> Made:
        size = graph.need_constant(op.inputs[1], "size").astype(np.int64).ravel()
        corner = 2 if mode == "linear" else 0
        corners = op.options is not None and op.options.flag(corner)
        centers = op.options is not None and op.options.flag(corner + 1)
        place = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
        x = graph.value(op.inputs[0], NCHW)
        batch, height, width, channels = graph.tensor(op.inputs[0]).shape
        extra = {"nearest_mode": "floor"} if mode == "nearest" else {}
        if mode == "nearest" and corners:
            extra = {"nearest_mode": "round_prefer_ceil"}
        elif mode == "nearest" and centers:
            # TFLite takes floor((x + 0.5) * scale), a pixel further than ONNX's half pixel.
            place, extra = "asymmetric", {"nearest_mode": "floor"}
            if (size % [max(1, height), max(1, width)]).any():
                place, extra = "half_pixel", {"nearest_mode": "round_prefer_ceil"}
        if min(height, width) > 0 and not corners:
            scales = np.array([1, 1, size[0] / height, size[1] / width], np.float32)
            if np.array_equal(np.floor(scales[2:] * [height, width]).astype(int), size):
                names = [x, "", graph.const(scales, "scales")]
                made = graph.emit(
                    "Resize", names, mode=mode, coordinate_transformation_mode=place, **extra
                )
                return [(made, NCHW)]
        batch = batch if batch > 0 else 1
        if min(channels, batch) < 1 or graph.tensor(op.inputs[0]).shape[0] < 0:
            raise graph.unsupported("its batch size is open and its scale is no exact number")
        names = [x, "", "", graph.ints(batch, channels, *size)]
        made = graph.emit("Resize", names, mode=mode, coordinate_transformation_mode=place, **extra)
        return [(made, NCHW)]

    return handler
