"""Paddle's operators that move values, change the size of pictures, or make constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgeinfer_export.sources.legacy import moves, ops
from edgeinfer_export.sources.legacy.graph import Graph
from edgeinfer_export.sources.paddle.program import DTYPES
from edgeinfer_export.sources.paddle.step import Step

_FAR_BEFORE = -(1 << 31)


def _numbers(step: Step, names: tuple[str, ...]) -> list[int] | None:
    """Integers that come as tensors, which have to be constants; None where none are given."""
    for name in names:
        if step.has(name):
            parts = [step.graph.constant(item, name).reshape(-1) for item in step.all(name)]
            return [int(value) for value in np.concatenate(parts)]
    return None


def _concat(step: Step) -> None:
    axis = _numbers(step, ("AxisTensor",)) or [step.integer("axis")]
    step.give(moves.concat(step.graph, step.all("X"), axis[0], step.name))


def _stack(step: Step) -> None:
    axis = step.integer("axis")
    parts = [step.graph.node("Unsqueeze", item, step.graph.ints(axis)) for item in step.all("X")]
    step.give(moves.concat(step.graph, parts, axis, step.name), "Y")


def _split(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    names = step.operator.outputs.get("Out") or ()
    axis = (_numbers(step, ("AxisTensor",)) or [step.integer("axis")])[0] % graph.rank(tensor)
    size = graph.sizes(tensor)[axis]
    sections = step.integers("sections")
    if not sections:
        sections = [size // max(1, len(names))] * len(names)
    if -1 in sections:
        sections[sections.index(-1)] = size - sum(item for item in sections if item > 0)
    if sum(sections) != size or len(sections) != len(names) or min(sections, default=0) < 1:
        graph.fail(f"{size} values do not divide into {sections}.")
    parts = [tensor]
    if len(names) > 1:
        parts = graph.nodes("Split", [tensor, graph.ints(*sections)], names, axis=axis)
    step.tensors.update(zip(names, parts, strict=True))


def _reshape(step: Step) -> None:
    shape = _numbers(step, ("Shape", "ShapeTensor")) or step.integers("shape")
    tensor = step.one("X")
    own = step.graph.shape(tensor)
    if any(code == 0 and place >= len(own) for place, code in enumerate(shape)):
        step.graph.fail(f"the shape {list(own)} does not become {shape}.")
    wanted = [
        moves.kept(step.graph, tensor, place) if code == 0 else code
        for place, code in enumerate(shape)
    ]
    step.give(moves.reshape(step.graph, tensor, wanted, step.name))


def _transpose(step: Step) -> None:
    order, rank = step.integers("axis"), step.graph.rank(step.one("X"))
    order = [axis % rank for axis in order]
    if sorted(order) != list(range(rank)):
        step.graph.fail(f"its axis {order} is none of {rank} dimensions.")
    step.give(step.graph.node("Transpose", step.one("X"), name=step.name, perm=order))


def _flatten(step: Step) -> None:
    """A matrix."""
    shape, axis = step.graph.sizes(step.one("X")), step.integer("axis", 1)
    rows = int(np.prod(shape[:axis]))
    step.give(step.graph.reshape(step.one("X"), [rows, -1], step.name))


def _flatten_range(step: Step) -> None:
    start, stop = step.integer("start_axis", 1), step.integer("stop_axis", -1)
    step.give(ops.flatten(step.graph, step.one("X"), start, stop, step.name))


def _squeeze(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    shape, axes = graph.sizes(tensor), step.integers("axes")
    chosen = [axis % len(shape) for axis in axes] or list(range(len(shape)))
    kept = [size for axis, size in enumerate(shape) if size != 1 or axis not in chosen]
    step.give(graph.reshape(tensor, kept, step.name))


def _unsqueeze(step: Step) -> None:
    axes = _numbers(step, ("AxesTensor", "AxesTensorList")) or step.integers("axes")
    tensor = step.one("X")
    for axis in axes:  # one after the other, as Paddle counts them
        tensor = step.graph.node("Unsqueeze", tensor, step.graph.ints(axis), name=step.name)
    step.give(tensor)


def _slice(step: Step) -> None:
    graph = step.graph
    axes = step.integers("axes")
    starts = _numbers(step, ("StartsTensor", "StartsTensorList")) or step.integers("starts")
    ends = _numbers(step, ("EndsTensor", "EndsTensorList")) or step.integers("ends")
    strides = _numbers(step, ("StridesTensor", "StridesTensorList")) or step.integers("strides")
    strides = strides or [1] * len(axes)
    if not len(axes) == len(starts) == len(ends) == len(strides):
        graph.fail(f"its axes {axes}, starts {starts} and ends {ends} do not go together.")
    # Backwards, -1 is before the first value, and not the last one.
    ends = [
        _FAR_BEFORE if stride < 0 and end == -1 else end
        for end, stride in zip(ends, strides, strict=True)
    ]
    bounds = [graph.ints(*values) for values in (starts, ends, axes, strides)]
    tensor = graph.node("Slice", step.one("Input"), *bounds, name=step.name)
    gone = step.integers("decrease_axis")
    if gone:
        tensor = graph.node("Squeeze", tensor, graph.ints(*gone), name=step.name)
    step.give(tensor)


def _out_hw(step: Step, tensor: str) -> tuple[ops.Pair, tuple[float, float] | None]:
    """The size that a resize asks for, in the order in which Paddle looks; and its factors."""
    height, width = step.graph.hw(tensor)
    sizes = _numbers(step, ("OutSize", "SizeTensor"))
    if sizes and len(sizes) == 2:
        return (sizes[0], sizes[1]), None
    scales = step.numbers("scale")
    if step.has("Scale"):
        scales = [float(item) for item in step.parameter("Scale").reshape(-1)]
    if scales and min(scales) > 0:
        return (int(height * scales[0]), int(width * scales[-1])), (scales[0], scales[-1])
    return (step.integer("out_h"), step.integer("out_w")), None


def _resize(step: Step) -> None:
    tensor = step.one("X")
    if step.word("data_layout", "NCHW") != "NCHW" or step.graph.rank(tensor) != 4:
        step.graph.fail("only pictures in the layout NCHW are supported.")
    corners = step.flag("align_corners", True)
    size, scales = _out_hw(step, tensor)
    mode = "nearest" if step.operator.kind.startswith("nearest") else "linear"
    if mode == "nearest":
        how, rule = ("align_corners", "round_prefer_ceil") if corners else ("asymmetric", "floor")
    else:
        how, rule = "half_pixel" if step.integer("align_mode", 1) == 0 else "asymmetric", ""
        how = "align_corners" if corners else how
    made = ops.resize(
        step.graph,
        tensor,
        size,
        mode=mode,
        coordinates=how,
        nearest=rule,
        scale_hw=None if corners else scales,
        name=step.name,
    )
    step.give(made)


def _pad(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    kind, rank = step.operator.kind, graph.rank(tensor)
    widths = _numbers(step, ("Paddings",)) or step.integers("paddings")
    mode = {"replicate": "edge"}.get(step.word("mode", "constant"), step.word("mode", "constant"))
    if kind == "pad":
        befores, afters = widths[::2], widths[1::2]
    elif kind == "pad2d":
        befores, afters = [0, 0, *widths[::2]], [0, 0, *widths[1::2]]
    else:
        # From the last dimension to the first.
        befores, afters = [0, 0, *widths[::2][::-1]], [0, 0, *widths[1::2][::-1]]
    layout = step.word("data_format", "NCHW")
    if not len(befores) == len(afters) == rank or mode not in ("constant", "edge", "reflect"):
        graph.fail(f"its paddings are {widths} for {rank} dimensions, its mode {mode}.")
    if layout not in ("NCHW", "NCDHW") or min(*befores, *afters) < 0:
        graph.fail(f"its data_format is {layout}, its paddings are {widths}.")
    value = step.number("pad_value", step.number("value"))
    given = (graph.weight(value),) if mode == "constant" else ()
    pads = graph.ints(*befores, *afters)
    step.give(graph.node("Pad", tensor, pads, *given, name=step.name, mode=mode))


def _shuffle(step: Step) -> None:
    groups = step.integer("group", step.integer("groups", 1))
    step.give(moves.shuffle(step.graph, step.one("X"), groups, step.name))


def _pixel_shuffle(step: Step) -> None:
    size = step.integer("upscale_factor", 1)
    step.give(
        step.graph.node("DepthToSpace", step.one("X"), name=step.name, blocksize=size, mode="CRD")
    )


def _expand(step: Step) -> None:
    """Repetition (fluid), or broadcasting to a shape (2.x), where -1 keeps a dimension."""
    graph, tensor = step.graph, step.one("X")
    if step.operator.kind in ("expand", "tile"):
        times = _numbers(step, ("ExpandTimes", "RepeatTimes", "repeat_times_tensor"))
        times = times or step.integers("expand_times") or step.integers("repeat_times")
        rank = graph.rank(tensor)
        times = [1] * (rank - len(times)) + times
        if len(times) > rank:
            tensor = graph.reshape(tensor, [1] * (len(times) - rank) + [*graph.sizes(tensor)])
        step.give(graph.node("Tile", tensor, graph.ints(*times), name=step.name))
        return
    wanted = _numbers(step, ("Shape", "expand_shapes_tensor")) or step.integers("shape")
    sizes = [1 if size == -1 else size for size in wanted]
    step.give(graph.node("Expand", tensor, graph.ints(*sizes), name=step.name))


def _cast(step: Step) -> None:
    step.give(step.graph.node("Cast", step.one("X"), name=step.name, to=step.code("out_dtype")))


def _shape(step: Step) -> None:
    step.give(step.graph.ints(*step.graph.sizes(step.one("Input"))))


def _fill(step: Step) -> None:
    shape = _numbers(step, ("ShapeTensor", "ShapeTensorList")) or step.integers("shape")
    text = step.word("str_value")
    try:
        value = float(text) if text else step.number("value")
    except ValueError:
        step.graph.fail(f"its value is '{text}'.")
    dtype = DTYPES.get(step.integer("dtype", 5))
    if dtype is None or min(shape, default=1) < 0 or np.prod(shape, dtype=float) > 1e7:
        step.graph.fail(f"it makes the shape {shape} of type {step.integer('dtype')}.")
    dtype = "<f4" if dtype in ("<f2", "<f8") else dtype
    step.give(step.graph.weight(np.full(shape, value), step.name, dtype))


def _range(step: Step) -> None:
    names = ("Start", "End", "Step")
    dtype = step.parameter("Start").dtype
    start, end, by = (float(step.parameter(name).reshape(-1)[0]) for name in names)
    if by == 0 or abs((end - start) / by) > 1e7:
        step.graph.fail(f"it counts from {start} to {end} by {by}.")
    values = np.arange(start, end, by).astype(dtype)
    step.give(step.graph.weight(values, step.name, values.dtype))


def _assign_value(step: Step) -> None:
    code = step.integer("dtype", 5)
    names = {5: "fp32_values", 2: "int32_values", 3: "int64_values", 0: "bool_values"}
    if code not in names:
        step.graph.fail(f"its type is {code}.")
    values = np.asarray(step.numbers(names[code]), DTYPES[code]).reshape(step.integers("shape"))
    step.give(step.graph.weight(values, step.name, values.dtype))


def _gather(step: Step) -> None:
    graph: Graph = step.graph
    axis = (_numbers(step, ("Axis",)) or [step.integer("axis")])[0]
    step.give(graph.node("Gather", step.one("X"), step.one("Index"), name=step.name, axis=axis))


OPERATORS: dict[str, Callable[[Step], None]] = {
    "assign_value": _assign_value,
    "bilinear_interp": _resize,
    "bilinear_interp_v2": _resize,
    "cast": _cast,
    "channel_shuffle": _shuffle,
    "concat": _concat,
    "expand": _expand,
    "expand_v2": _expand,
    "fill_constant": _fill,
    "flatten": _flatten,
    "flatten2": _flatten,
    "flatten_contiguous_range": _flatten_range,
    "gather": _gather,
    "nearest_interp": _resize,
    "nearest_interp_v2": _resize,
    "pad": _pad,
    "pad2d": _pad,
    "pad3d": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "range": _range,
    "reshape": _reshape,
    "reshape2": _reshape,
    "shape": _shape,
    "shuffle_channel": _shuffle,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "squeeze2": _squeeze,
    "stack": _stack,
    "strided_slice": _slice,
    "tile": _expand,
    "transpose": _transpose,
    "transpose2": _transpose,
    "unsqueeze": _unsqueeze,
    "unsqueeze2": _unsqueeze,
}
