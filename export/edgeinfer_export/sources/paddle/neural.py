"""Paddle's layers with parameters, and pooling."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from edgeinfer_export.sources.legacy import ops
from edgeinfer_export.sources.paddle.step import Step


def _pads(
    step: Step, kernel: ops.Pair, stride: ops.Pair, sizes: Sequence[int]
) -> tuple[int, int, int, int]:
    """Top, left, bottom, right."""
    rule = step.word("padding_algorithm", "EXPLICIT")
    if rule == "VALID":
        return (0, 0, 0, 0)
    if rule == "SAME":
        totals = [
            max(0, (-(-sizes[i] // stride[i]) - 1) * stride[i] + kernel[i] - sizes[i])
            for i in (0, 1)
        ]
        return (
            totals[0] // 2,
            totals[1] // 2,
            totals[0] - totals[0] // 2,
            totals[1] - totals[1] // 2,
        )
    given = step.integers("paddings", [0, 0])
    if len(given) == 4:
        top, bottom, left, right = given
        return top, left, bottom, right
    if len(given) != 2:
        step.graph.fail(f"its paddings are {given}.")
    return given[0], given[1], given[0], given[1]


def _pair(step: Step, name: str, default: int = 1) -> ops.Pair:
    values = step.integers(name, [default, default])
    if len(values) not in (1, 2):
        step.graph.fail(f"its {name} {values} has not two dimensions: it is no picture's.")
    return values[0], values[-1]


def _window(step: Step, kernel: ops.Pair, tensor: str) -> ops.Window:
    layout = step.word("data_format", "NCHW")
    if layout not in ("NCHW", "AnyLayout"):
        step.graph.fail(f"its data_format is {layout}; NCHW is supported.")
    sizes = step.graph.hw(tensor)
    if len(sizes) != 2:
        step.graph.fail(f"its input has the shape {list(step.graph.shape(tensor))}.")
    stride, dilation = _pair(step, "strides"), _pair(step, "dilations")
    if step.word("padding_algorithm") == "SAME":
        dilation = (1, 1)
    window = ops.Window(kernel, stride, (0, 0, 0, 0), dilation)
    window.check(step.graph)
    pads = _pads(step, kernel, stride, sizes)
    return ops.Window(kernel, stride, pads, dilation)


def _convolution(step: Step) -> None:
    tensor, weight = step.one("Input"), step.parameter("Filter")
    if weight.ndim != 4:
        step.graph.fail(f"its weights have the shape {list(weight.shape)}.")
    window = _window(step, (weight.shape[2], weight.shape[3]), tensor)
    bias = step.parameter("Bias").reshape(-1) if step.has("Bias") else None
    groups = step.integer("groups", 1)
    step.give(
        ops.convolve(step.graph, tensor, weight, bias, window, groups=groups, name=step.name),
        "Output",
    )


def _deconvolution(step: Step) -> None:
    tensor, weight = step.one("Input"), step.parameter("Filter")
    if weight.ndim != 4:
        step.graph.fail(f"its weights have the shape {list(weight.shape)}.")
    window = _window(step, (weight.shape[2], weight.shape[3]), tensor)
    extra = step.integers("output_padding") or [0, 0]
    wanted = step.integers("output_size")
    if wanted:
        sizes = step.graph.hw(tensor)
        for axis in (0, 1):
            reach = (window.kernel[axis] - 1) * window.dilation[axis] + 1
            usual = (sizes[axis] - 1) * window.stride[axis] + reach
            usual -= window.pads[axis] + window.pads[axis + 2]
            extra[axis] = wanted[min(axis, len(wanted) - 1)] - usual
    if min(extra) < 0:
        step.graph.fail(f"its output_size {wanted} is smaller than its window gives.")
    bias = step.parameter("Bias").reshape(-1) if step.has("Bias") else None
    made = ops.deconvolve(
        step.graph,
        tensor,
        weight,
        bias,
        window,
        groups=step.integer("groups", 1),
        extra=(extra[0], extra[1]),
        name=step.name,
    )
    step.give(made, "Output")


def _pooling(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    average = step.word("pooling_type", "max") == "avg"
    kernel = _pair(step, "ksize")
    adaptive = step.flag("adaptive")
    if step.flag("global_pooling") or (adaptive and kernel == (1, 1)):
        step.give(ops.pool_whole(graph, tensor, average=average, name=step.name))
        return
    sizes = graph.hw(tensor)
    if adaptive:
        if min(kernel) < 1 or sizes[0] % kernel[0] or sizes[1] % kernel[1]:
            graph.fail(f"it pools {list(sizes)} to {list(kernel)}, which do not divide evenly.")
        stride = (sizes[0] // kernel[0], sizes[1] // kernel[1])
        window = ops.Window(stride, stride)
        step.give(ops.pool(graph, tensor, window, kernel, average=average, name=step.name))
        return
    window = _window(step, kernel, tensor)
    ceil = step.flag("ceil_mode")
    out = [ops.pooled_size(sizes[i], window, i, ceil, clip=False) for i in (0, 1)]
    made = ops.pool(
        graph,
        tensor,
        window,
        (out[0], out[1]),
        average=average,
        count_padding=not step.flag("exclusive", True),
        name=step.name,
    )
    step.give(made)


def _batch_norm(step: Step) -> None:
    if step.word("data_layout", "NCHW") not in ("NCHW", "AnyLayout"):
        step.graph.fail(f"its data_layout is {step.word('data_layout')}; NCHW is supported.")
    mean, variance = step.parameter("Mean"), step.parameter("Variance")
    scale, shift = step.parameter("Scale"), step.parameter("Bias")
    epsilon = step.number("epsilon", 1e-5)
    made = ops.normalize(
        step.graph, step.one("X"), mean, variance, epsilon, scale, shift, name=step.name
    )
    step.give(made, "Y")


def _affine_channel(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    rank = graph.rank(tensor)
    scale, shift = (step.parameter(name).reshape(-1) for name in ("Scale", "Bias"))
    made = graph.node("Mul", tensor, ops.along_axis(graph, scale, 1, rank))
    step.give(graph.node("Add", made, ops.along_axis(graph, shift, 1, rank), name=step.name))


def _factors(step: Step, count: int) -> tuple[str, str]:
    """Learned factors and offsets; ones and zeros where there are none."""
    scale = step.parameter("Scale") if step.has("Scale") else np.ones(count, np.float32)
    shift = step.parameter("Bias") if step.has("Bias") else np.zeros(count, np.float32)
    if scale.size != count or shift.size != count:
        step.graph.fail(f"it has {scale.size} factors and {shift.size} offsets for {count} values.")
    return step.graph.weight(scale.reshape(-1)), step.graph.weight(shift.reshape(-1))


def _instance_norm(step: Step) -> None:
    tensor, epsilon = step.one("X"), step.number("epsilon", 1e-5)
    names = _factors(step, step.graph.sizes(tensor)[1])
    made = step.graph.node("InstanceNormalization", tensor, *names, name=step.name, epsilon=epsilon)
    step.give(made, "Y")


def _group_norm(step: Step) -> None:
    """Instance normalization of groups, then factors of each channel."""
    graph, tensor = step.graph, step.one("X")
    shape, groups = graph.sizes(tensor), step.integer("groups", 1)
    if groups < 1 or shape[1] % groups or step.word("data_layout", "NCHW") != "NCHW":
        graph.fail(f"{shape[1]} channels in {groups} groups, {step.word('data_layout')}.")
    grouped = graph.reshape(tensor, [shape[0], groups, -1])
    ones, zeros = graph.weight(np.ones(groups)), graph.weight(np.zeros(groups))
    epsilon = step.number("epsilon", 1e-5)
    made = graph.node("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon)
    made = graph.reshape(made, shape)
    columns = [1, shape[1], *[1] * (len(shape) - 2)]
    scale, shift = (graph.reshape(item, columns) for item in _factors(step, shape[1]))
    step.give(graph.node("Add", graph.node("Mul", made, scale), shift, name=step.name), "Y")


def _layer_norm(step: Step) -> None:
    graph, tensor = step.graph, step.one("X")
    axis = step.integer("begin_norm_axis", 1)
    shape = graph.sizes(tensor)[axis:]
    count = int(np.prod(shape))
    factors = [graph.reshape(item, shape) for item in _factors(step, count)]
    made = graph.node(
        "LayerNormalization",
        tensor,
        *factors,
        name=step.name,
        axis=axis,
        epsilon=step.number("epsilon", 1e-5),
    )
    step.give(made, "Y")


def _flat(step: Step, tensor: str, dims: int) -> str:
    """A matrix: the first dimensions are rows."""
    shape = step.graph.sizes(tensor)
    if not 0 < dims < len(shape):
        step.graph.fail(f"it cannot split the shape {list(shape)} after {dims} dimensions.")
    if len(shape) == 2:
        return tensor
    return step.graph.reshape(tensor, [int(np.prod(shape[:dims])), -1])


def _mul(step: Step) -> None:
    """A product of matrices, to which tensors are flattened (fluid's fully connected layer)."""
    graph, one, two = step.graph, step.one("X"), step.one("Y")
    one_dims, two_dims = step.integer("x_num_col_dims", 1), step.integer("y_num_col_dims", 1)
    shape = [*graph.sizes(one)[:one_dims], *graph.sizes(two)[two_dims:]]
    left, right = _flat(step, one, one_dims), _flat(step, two, two_dims)
    made = graph.node("MatMul", left, right, name=step.name)
    step.give(made if len(shape) == 2 else graph.reshape(made, shape, step.name))


def _fc(step: Step) -> None:
    graph, tensor, weight = step.graph, step.one("Input"), step.parameter("W")
    dims = step.integer("in_num_col_dims", 1)
    shape = [*graph.sizes(tensor)[:dims], weight.shape[1]]
    bias = step.parameter("Bias").reshape(-1) if step.has("Bias") else None
    made = ops.dense(graph, _flat(step, tensor, dims), weight.T, bias, name=step.name)
    activation = step.word("activation_type")
    if activation not in ("", "relu"):
        graph.fail(f"its activation_type is {activation}.")
    if activation:
        made = graph.node("Relu", made)
    step.give(made if len(shape) == 2 else graph.reshape(made, shape))


def _matmul(step: Step) -> None:
    graph = step.graph
    sides = []
    for name, flag in (("X", ("transpose_X", "trans_x")), ("Y", ("transpose_Y", "trans_y"))):
        tensor = step.one(name)
        if any(step.flag(item) for item in flag):
            order = list(range(graph.rank(tensor)))
            if len(order) > 1:
                order[-2:] = order[-1], order[-2]
            tensor = graph.node("Transpose", tensor, perm=order)
        sides.append(tensor)
    made = graph.node("MatMul", *sides, name=step.name)
    alpha = step.number("alpha", 1.0)
    step.give(made if alpha == 1 else graph.node("Mul", made, graph.weight(alpha)))


def _prelu(step: Step) -> None:
    graph, tensor, slopes = step.graph, step.one("X"), step.parameter("Alpha")
    mode = step.word("mode", "all")
    if mode == "channel":
        factor = ops.along_axis(graph, slopes.reshape(-1), 1, graph.rank(tensor))
    elif mode == "all":
        factor = graph.weight(slopes.reshape(-1)[:1])
    else:
        factor = graph.weight(slopes.reshape(graph.sizes(tensor)[1:]))
    step.give(graph.node("PRelu", tensor, factor, name=step.name))


def _lrn(step: Step) -> None:
    size = step.integer("n", 5)
    # Paddle does not divide by the size, ONNX does.
    settings = {"alpha": step.number("alpha", 1e-4) * size, "beta": step.number("beta", 0.75)}
    bias = step.number("k", 1.0)
    step.give(
        step.graph.node("LRN", step.one("X"), name=step.name, size=size, bias=bias, **settings)
    )


OPERATORS: dict[str, Callable[[Step], None]] = {
    "affine_channel": _affine_channel,
    "batch_norm": _batch_norm,
    "bmm": _matmul,
    "conv2d": _convolution,
    "conv2d_transpose": _deconvolution,
    "depthwise_conv2d": _convolution,
    "depthwise_conv2d_transpose": _deconvolution,
    "fc": _fc,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    "layer_norm": _layer_norm,
    "lrn": _lrn,
    "matmul": _matmul,
    "matmul_v2": _matmul,
    "mul": _mul,
    "max_pool2d_with_index": _pooling,
    "pool2d": _pooling,
    "prelu": _prelu,
    "sync_batch_norm": _batch_norm,
}
