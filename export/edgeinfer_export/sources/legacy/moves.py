"""Operations that only move values, checked before the graph gets them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeinfer_export.sources.legacy.graph import Graph


def concat(graph: Graph, inputs: Sequence[str], axis: int, name: str = "") -> str:
    """Join tensors along an axis."""
    shapes = [graph.shape(item) for item in inputs]
    rank = len(shapes[0])
    if any(len(shape) != rank for shape in shapes) or not -rank <= axis < rank:
        graph.fail(f"shapes {[list(shape) for shape in shapes]} do not join along axis {axis}.")
    axis %= rank
    rests = {shape[:axis] + shape[axis + 1 :] for shape in shapes}
    if len(rests) > 1:
        graph.fail(f"shapes {[list(shape) for shape in shapes]} do not join along axis {axis}.")
    if len(inputs) == 1:
        return inputs[0]
    return graph.node("Concat", *inputs, name=name, axis=axis)


def kept(graph: Graph, tensor: str, axis: int) -> int:
    """A dimension that a reshape keeps at its place: its size, or 0 where it is open."""
    size = graph.shape(tensor)[axis]
    return 0 if isinstance(size, str) else size


def reshape(graph: Graph, tensor: str, wanted: Sequence[int], name: str = "") -> str:
    """Another shape for the same values; at most one size is -1, and 0 keeps an open one."""
    shape = graph.shape(tensor)
    numbers = [size for size in wanted if size != -1]
    if all(isinstance(size, int) for size in shape):
        total, rest = math.prod(graph.sizes(tensor)), math.prod(numbers)
        open_sizes = len(wanted) - len(numbers)
        fits = total == rest if not open_sizes else rest > 0 and total % rest == 0
        if open_sizes > 1 or not fits or any(size < 1 for size in numbers):
            graph.fail(f"the shape {list(shape)} does not become {list(wanted)}.")
    return graph.reshape(tensor, wanted, name)


def shuffle(graph: Graph, tensor: str, groups: int, name: str = "") -> str:
    """Channels of groups, dealt in turns (ShuffleNet)."""
    count, channels, height, width = graph.sizes(tensor)
    if groups < 1 or channels % groups:
        graph.fail(f"{channels} channels do not divide into {groups} groups.")
    split = graph.reshape(tensor, [count, groups, channels // groups, height, width])
    dealt = graph.node("Transpose", split, perm=[0, 2, 1, 3, 4])
    return graph.reshape(dealt, [count, channels, height, width], name)


def reorg(graph: Graph, tensor: str, stride: int, name: str = "") -> str:
    """Darknet's reorganization layer of YOLOv2.

    It reads the input's memory as a picture of `stride` times the size with fewer channels, and
    takes that apart: neither of the usual space-to-depth orders.
    """
    count, channels, height, width = graph.sizes(tensor)
    square = stride * stride
    if stride < 1 or channels % square or height % stride or width % stride:
        graph.fail(f"the shape {[count, channels, height, width]} has no stride {stride}.")
    seen = graph.reshape(tensor, [count, channels // square, height, stride, width, stride])
    apart = graph.node("Transpose", seen, perm=[0, 3, 5, 1, 2, 4])
    shape = [count, channels * square, height // stride, width // stride]
    return graph.reshape(apart, shape, name)
