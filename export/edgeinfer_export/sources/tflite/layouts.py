"""Bring the inputs of one operator into one layout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgeinfer_export.sources.tflite.graph import NCHW, PLAIN, TO_NCHW, Graph
from edgeinfer_export.sources.tflite.quantization import weight

# What an operator made: ONNX names, each with its layout.
Made = list[tuple[str, str]]
# Where an axis of NHWC lies in NCHW.
AXIS_IN_NCHW = {0: 0, 1: 2, 2: 3, 3: 1}


def together(graph: Graph, indexes: Sequence[int]) -> tuple[list[str], str]:
    """Names of several tensors that are combined element by element, and their common layout."""
    computed = [i for i in indexes if graph.constant(i) is None]
    layout = PLAIN
    if any(graph.layout_of(i) == NCHW for i in computed) and all(
        len(graph.tensor(i).shape) == 4 or math.prod(graph.tensor(i).shape) == 1 for i in computed
    ):
        layout = NCHW
    return [_in_layout(graph, i, layout) for i in indexes], layout


def _in_layout(graph: Graph, index: int, layout: str) -> str:
    tensor = graph.tensor(index)
    rank = len(tensor.shape)
    value = graph.constant(index)
    if value is None:
        return graph.value(index, layout if rank == 4 else PLAIN)
    if tensor.quantized and (layout == PLAIN or rank == 4):
        return weight(graph, index, TO_NCHW if layout == NCHW else None)
    if layout == NCHW and 0 < rank <= 4:
        value = value.reshape((1,) * (4 - rank) + value.shape).transpose(TO_NCHW)
    return graph.const(value, tensor.name)


def axis_of(graph: Graph, axis: int, rank: int) -> int:
    """An axis counted from the front.

    Raises:
        Unsupported: if there is no such axis.
    """
    found = axis + rank if axis < 0 else axis
    if not 0 <= found < rank:
        raise graph.unsupported(f"axis {axis} of a tensor with {rank} axes")
    return found


def in_layout(axis: int, layout: str) -> int:
    """Where an axis of the source lies in a layout."""
    return AXIS_IN_NCHW[axis] if layout == NCHW else axis


def as_made(graph: Graph, index: int) -> tuple[str, str]:
    """A tensor in the layout that it was made in."""
    layout = graph.layout_of(index)
    return graph.value(index, layout), layout


def known(graph: Graph, index: int) -> tuple[int, ...]:
    """A shape without open sizes.

    Raises:
        Unsupported: if a size is open.
    """
    shape = graph.tensor(index).shape
    if min(shape, default=0) < 0:
        raise graph.unsupported(f"the shape of '{graph.tensor(index).name}' is open: {list(shape)}")
    return shape


def int64(graph: Graph, index: int) -> str:
    """A tensor of integers as int64, which ONNX wants for shapes and indices."""
    value = graph.constant(index)
    if value is not None:
        return graph.const(value.astype(np.int64), f"{graph.tensor(index).name}/int64")
    name = graph.value(index)
    return name if graph.tensor(index).dtype == "int64" else graph.emit("Cast", [name], to=7)
