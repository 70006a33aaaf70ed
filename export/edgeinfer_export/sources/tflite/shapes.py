"""Operators that move, join and cut: they compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeinfer_export.sources.tflite.graph import NCHW, PLAIN, TO_NHWC, Graph
from edgeinfer_export.sources.tflite.layouts import (
    Made,
    as_made,
    axis_of,
    in_layout,
    int64,
    known,
    together,
)
from edgeinfer_export.sources.tflite.model import Operator


def reshape(graph: Graph, op: Operator) -> Made:
    """To a given shape; -1 is what is left."""
    x = _flat(graph, op.inputs[0])
    if len(op.inputs) > 1 and op.inputs[1] >= 0:
        given = graph.constant(op.inputs[1])
        if given is None:
            return [(graph.emit("Reshape", [x, int64(graph, op.inputs[1])], allowzero=1), PLAIN)]
        shape = [int(size) for size in given.ravel()]
    else:
        shape = [] if op.options is None else [int(size) for size in op.options.vector(0, "i4")]
    # ONNX copies a size where it finds 0; TFLite's are real sizes.
    zero = int(0 in shape)
    return [(graph.emit("Reshape", [x, graph.ints(*shape)], allowzero=zero), PLAIN)]


def _flat(graph: Graph, index: int) -> str:
    """A tensor whose numbers lie in the source's order; its own axes do not matter."""
    name, layout = as_made(graph, index)
    if layout == NCHW:
        _, height, width, channels = graph.tensor(index).shape
        if channels == 1 or (height == 1 and width == 1):
            return name
    return graph.value(index)


def squeeze(graph: Graph, op: Operator) -> Made:
    """Without axes of length one; all of them where none is named."""
    shape = graph.tensor(op.inputs[0]).shape
    named = [] if op.options is None else [int(a) for a in op.options.vector(0, "i4")]
    axes = [axis_of(graph, a, len(shape)) for a in named]
    axes = axes or [axis for axis, size in enumerate(shape) if size == 1]
    # The map of one pixel that pooling made: its two axes go, whatever the layout.
    if axes == [1, 2] and graph.layout_of(op.inputs[0]) == NCHW:
        name = graph.value(op.inputs[0], NCHW)
        return [(graph.emit("Squeeze", [name, graph.ints(2, 3)]), PLAIN)]
    return [(graph.emit("Squeeze", [graph.value(op.inputs[0]), graph.ints(*axes)]), PLAIN)]


def expand_dims(graph: Graph, op: Operator) -> Made:
    axis = graph.need_constant(op.inputs[1], "axis").ravel()
    return [(graph.emit("Unsqueeze", [graph.value(op.inputs[0]), graph.ints(*axis)]), PLAIN)]


def transpose(graph: Graph, op: Operator) -> Made:
    """An order of axes; the one that the layouts differ by costs nothing."""
    order = [int(axis) for axis in graph.need_constant(op.inputs[1], "order of axes")]
    if sorted(order) != list(range(len(graph.tensor(op.inputs[0]).shape))):
        raise graph.unsupported(f"its order of axes is {order}")
    name, layout = as_made(graph, op.inputs[0])
    if layout == NCHW and order == [0, 3, 1, 2]:
        return [(graph.emit("Identity", [name]), PLAIN)]
    if layout == PLAIN and order == list(TO_NHWC):
        return [(graph.emit("Identity", [name]), NCHW)]
    return [(graph.emit("Transpose", [graph.value(op.inputs[0])], perm=order), PLAIN)]


def concatenation(graph: Graph, op: Operator) -> Made:
    axis = 0 if op.options is None else op.options.number(0)
    rank = len(graph.tensor(op.outputs[0]).shape)
    names, layout = together(graph, op.inputs)
    where = in_layout(axis_of(graph, axis, rank), layout)
    return [(graph.emit("Concat", names, axis=where), layout)]


def pack(graph: Graph, op: Operator) -> Made:
    """Several tensors as one with a new axis."""
    axis = 0 if op.options is None else op.options.number(1)
    axis = axis_of(graph, axis, len(graph.tensor(op.outputs[0]).shape))
    names = [graph.emit("Unsqueeze", [graph.value(i), graph.ints(axis)]) for i in op.inputs]
    return [(graph.emit("Concat", names, axis=axis), PLAIN)]


def unpack(graph: Graph, op: Operator) -> Made:
    """One tensor as several, without the axis that they are cut along."""
    axis = 0 if op.options is None else op.options.number(1)
    axis = axis_of(graph, axis, len(graph.tensor(op.inputs[0]).shape))
    parts = _split(graph, graph.value(op.inputs[0]), axis, [1] * len(op.outputs))
    return [(graph.emit("Squeeze", [part, graph.ints(axis)]), PLAIN) for part in parts]


def split(graph: Graph, op: Operator) -> Made:
    """In equal parts."""
    axis = int(graph.need_constant(op.inputs[0], "axis").ravel()[0])
    size = graph.tensor(op.inputs[1]).shape[axis]
    count = len(op.outputs)
    if size < 0 or size % count:
        raise graph.unsupported(f"{count} parts of an axis of {size}")
    return _parts(graph, op.inputs[1], axis, [size // count] * count)


def split_v(graph: Graph, op: Operator) -> Made:
    """In parts of given sizes; one may be -1, what is left."""
    sizes = [int(size) for size in graph.need_constant(op.inputs[1], "sizes").ravel()]
    axis = int(graph.need_constant(op.inputs[2], "axis").ravel()[0])
    if -1 in sizes:
        whole = graph.tensor(op.inputs[0]).shape[axis]
        sizes[sizes.index(-1)] = whole - sum(size for size in sizes if size >= 0)
    return _parts(graph, op.inputs[0], axis, sizes)


def _parts(graph: Graph, index: int, axis: int, sizes: Sequence[int]) -> Made:
    name, layout = as_made(graph, index)
    axis = axis_of(graph, axis, len(graph.tensor(index).shape))
    return [(part, layout) for part in _split(graph, name, in_layout(axis, layout), sizes)]


def _split(graph: Graph, name: str, axis: int, sizes: Sequence[int]) -> list[str]:
    if len(sizes) == 1:
        return [graph.emit("Identity", [name])]
    names = [f"{name}/part" for _ in sizes]
    return graph.emit_many("Split", [name, graph.ints(*sizes)], names, axis=axis)


def tile(graph: Graph, op: Operator) -> Made:
    return [(graph.emit("Tile", [graph.value(op.inputs[0]), int64(graph, op.inputs[1])]), PLAIN)]


def broadcast_to(graph: Graph, op: Operator) -> Made:
    names = [graph.value(op.inputs[0]), int64(graph, op.inputs[1])]
    return [(graph.emit("Expand", names), PLAIN)]


def pad(graph: Graph, op: Operator) -> Made:
    """With zeros, a value, or what lies at the border."""
    name, layout = as_made(graph, op.inputs[0])
    pairs = graph.need_constant(op.inputs[1], "paddings").astype(np.int64).reshape(-1, 2)
    if layout == NCHW:
        pairs = pairs[[0, 3, 1, 2]]
    amounts = graph.ints(*pairs[:, 0], *pairs[:, 1])
    if op.name == "MIRROR_PAD":
        if op.options is not None and op.options.number(0, "b"):
            raise graph.unsupported("it mirrors with the border itself (symmetric)")
        return [(graph.emit("Pad", [name, amounts], mode="reflect"), layout)]
    kind = graph.tensor(op.inputs[0])
    value = np.zeros((), np.float32 if kind.quantized else kind.dtype)
    if len(op.inputs) > 2:
        value = graph.need_constant(op.inputs[2], "value").reshape(()).astype(value.dtype)
    return [(graph.emit("Pad", [name, amounts, graph.const(value, "pad")]), layout)]


def depth_to_space(graph: Graph, op: Operator) -> Made:
    """Channels to blocks; TFLite's order is ONNX's DCR."""
    size = 0 if op.options is None else op.options.number(0)
    x = graph.value(op.inputs[0], NCHW)
    return [(graph.emit("DepthToSpace", [x], blocksize=size, mode="DCR"), NCHW)]


def space_to_depth(graph: Graph, op: Operator) -> Made:
    size = 0 if op.options is None else op.options.number(0)
    return [(graph.emit("SpaceToDepth", [graph.value(op.inputs[0], NCHW)], blocksize=size), NCHW)]


def space_to_batch_nd(graph: Graph, op: Operator) -> Made:
    """Blocks of pixels to pictures: how old converters write a dilated convolution."""
    rows, columns = _block(graph, op)
    pads = graph.need_constant(op.inputs[2], "paddings").reshape(-1, 2)
    batch, height, width, channels = known(graph, op.inputs[0])
    height, width = height + int(pads[0].sum()), width + int(pads[1].sum())
    name = graph.value(op.inputs[0])
    if pads.any():
        amounts = graph.ints(0, pads[0, 0], pads[1, 0], 0, 0, pads[0, 1], pads[1, 1], 0)
        name = graph.emit("Pad", [name, amounts])
    cut = (batch, height // rows, rows, width // columns, columns, channels)
    name = graph.emit("Reshape", [name, graph.ints(*cut)])
    name = graph.emit("Transpose", [name], perm=[2, 4, 0, 1, 3, 5])
    whole = (batch * rows * columns, height // rows, width // columns, channels)
    return [(graph.emit("Reshape", [name, graph.ints(*whole)]), PLAIN)]


def batch_to_space_nd(graph: Graph, op: Operator) -> Made:
    """The way back, without the rows and columns that padding had added."""
    rows, columns = _block(graph, op)
    crops = graph.need_constant(op.inputs[2], "crops").reshape(-1, 2)
    batch, height, width, channels = known(graph, op.inputs[0])
    few = batch // (rows * columns)
    cut = (rows, columns, few, height, width, channels)
    name = graph.emit("Reshape", [graph.value(op.inputs[0]), graph.ints(*cut)])
    name = graph.emit("Transpose", [name], perm=[2, 3, 0, 4, 1, 5])
    name = graph.emit("Reshape", [name, graph.ints(few, height * rows, width * columns, channels)])
    if crops.any():
        ends = height * rows - crops[0, 1], width * columns - crops[1, 1]
        begins = graph.ints(crops[0, 0], crops[1, 0])
        name = graph.emit("Slice", [name, begins, graph.ints(*ends), graph.ints(1, 2)])
    return [(name, PLAIN)]


def _block(graph: Graph, op: Operator) -> tuple[int, int]:
    block = [int(size) for size in graph.need_constant(op.inputs[1], "block").ravel()]
    if len(block) != 2 or len(graph.tensor(op.inputs[0]).shape) != 4:
        raise graph.unsupported(f"blocks of {len(block)} axes")
    return block[0], block[1]


def shape_of(graph: Graph, op: Operator) -> Made:
    name = graph.emit("Shape", [graph.value(op.inputs[0])])
    if graph.tensor(op.outputs[0]).dtype == "int32":
        name = graph.emit("Cast", [name], to=6)
    return [(name, PLAIN)]


def fill(graph: Graph, op: Operator) -> Made:
    return [(graph.emit("Expand", [graph.value(op.inputs[1]), int64(graph, op.inputs[0])]), PLAIN)]


def value_range(graph: Graph, op: Operator) -> Made:
    return [(graph.emit("Range", [graph.value(i) for i in op.inputs]), PLAIN)]
