"""Layers that several legacy frameworks have, with the small print of each as arguments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from edgeinfer.frames import Array
from edgeinfer_export.sources.legacy.graph import Graph

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a convolution or a pooling slides over a picture; height first everywhere.

    Attributes:
        kernel: size.
        stride: step.
        pads: top, left, bottom, right.
        dilation: distance of its taps.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    def check(self, graph: Graph) -> None:
        """Refuse sizes that no layer has."""
        numbers = (*self.kernel, *self.stride, *self.dilation)
        if min(numbers) < 1 or min(self.pads) < 0 or max(*numbers, *self.pads) > 1 << 15:
            graph.fail(
                f"kernel {self.kernel}, stride {self.stride}, dilation {self.dilation} and padding "
                f"{self.pads} are no sizes of a layer."
            )


def convolve(
    graph: Graph,
    tensor: str,
    weight: Array,
    bias: Array | None,
    window: Window,
    *,
    groups: int = 1,
    name: str = "",
) -> str:
    """A convolution.

    Args:
        weight: `(out, in / groups, kH, kW)`.
    """
    window.check(graph)
    channels = graph.shape(tensor)[1]
    if groups < 1 or weight.shape[0] % groups or channels != weight.shape[1] * groups:
        _misfit(graph, tensor, weight, groups)
    return _slide(graph, "Conv", tensor, (weight, bias), window, name, group=groups)


def deconvolve(
    graph: Graph,
    tensor: str,
    weight: Array,
    bias: Array | None,
    window: Window,
    *,
    groups: int = 1,
    extra: Pair = (0, 0),
    name: str = "",
) -> str:
    """A transposed convolution.

    Args:
        weight: `(in, out / groups, kH, kW)`.
        extra: rows and columns that the output has at its end beyond the usual size.
    """
    window.check(graph)
    if groups < 1 or graph.shape(tensor)[1] != weight.shape[0] or weight.shape[0] % groups:
        _misfit(graph, tensor, weight, groups)
    more = {"output_padding": extra, "group": groups}
    return _slide(graph, "ConvTranspose", tensor, (weight, bias), window, name, **more)


def _misfit(graph: Graph, tensor: str, weight: Array, groups: int) -> NoReturn:
    graph.fail(
        f"its weights are {list(weight.shape)} in {groups} groups, but its input has the shape "
        f"{list(graph.shape(tensor))}."
    )


def _slide(
    graph: Graph,
    kind: str,
    tensor: str,
    weights: tuple[Array, Array | None],
    window: Window,
    name: str,
    **attributes: Any,
) -> str:
    weight, bias = weights
    inputs = [tensor, graph.weight(weight, f"{name}_weight")]
    if bias is not None:
        inputs.append(graph.weight(bias, f"{name}_bias"))
    return graph.node(
        kind,
        *inputs,
        name=name,
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=window.pads,
        dilations=window.dilation,
        **attributes,
    )


def pool(
    graph: Graph,
    tensor: str,
    window: Window,
    out_hw: Pair,
    *,
    average: bool = False,
    count_padding: bool = True,
    name: str = "",
) -> str:
    """Max or average pooling to a given size, whatever rule of rounding that came from.

    Args:
        count_padding: whether an average counts the padding as zeros; what reaches over the padded
            picture's end is never counted.
    """
    window.check(graph)
    if min(out_hw) < 1:
        graph.fail(f"it would give {out_hw[0]}x{out_hw[1]} values: its window is too big.")
    in_hw = graph.hw(tensor)
    ends = [
        (out_hw[i] - 1) * window.stride[i] + window.kernel[i] - in_hw[i] - window.pads[i]
        for i in (0, 1)
    ]
    pads = (*window.pads[:2], max(0, ends[0]), max(0, ends[1]))
    settings: dict[str, Any] = {"kernel_shape": window.kernel, "strides": window.stride}
    if any(pads[i] >= window.kernel[i % 2] for i in range(4)):
        graph.fail(f"its padding {pads} is not smaller than its kernel {window.kernel}.")
    if not average:
        return graph.node("MaxPool", tensor, name=name, pads=pads, **settings)
    if not count_padding:
        return graph.node(
            "AveragePool", tensor, name=name, pads=pads, count_include_pad=0, **settings
        )
    counts = np.outer(*(_counts(window, in_hw, out_hw, axis) for axis in (0, 1)))
    full = window.kernel[0] * window.kernel[1]
    pooled = graph.node(
        "AveragePool", tensor, name=name, pads=pads, count_include_pad=1, **settings
    )
    if (counts == full).all():
        return pooled
    share = graph.weight((full / counts)[None, None], f"{name}_share")
    return graph.node("Mul", pooled, share, name=name)


def _counts(window: Window, in_hw: Sequence[int], out_hw: Pair, axis: int) -> Array:
    """How many rows or columns of the padded picture each window covers."""
    begin = np.arange(out_hw[axis]) * window.stride[axis] - window.pads[axis]
    end = np.minimum(begin + window.kernel[axis], in_hw[axis] + window.pads[axis + 2])
    return np.asarray(np.maximum(end - begin, 1))


def pooled_size(size: int, window: Window, axis: int, ceil: bool, clip: bool) -> int:
    """How many windows fit.

    Args:
        ceil: whether one that reaches over the end counts.
        clip: whether it must start before the padding at the end (Caffe's rule).
    """
    before, after = window.pads[axis], window.pads[axis + 2]
    span = size + before + after - window.kernel[axis]
    stride = max(1, window.stride[axis])
    count = (-(-span // stride) if ceil else span // stride) + 1
    if clip and ceil and (before or after) and (count - 1) * stride >= size + before:
        count -= 1
    return count


def pool_whole(graph: Graph, tensor: str, *, average: bool, name: str = "") -> str:
    """Pooling over the whole picture."""
    op = "GlobalAveragePool" if average else "GlobalMaxPool"
    return graph.node(op, tensor, name=name)


def normalize(
    graph: Graph,
    tensor: str,
    mean: Array,
    variance: Array,
    epsilon: float,
    scale: Array | None = None,
    shift: Array | None = None,
    *,
    name: str = "",
) -> str:
    """Batch normalization with the statistics of training."""
    count = graph.shape(tensor)[1]
    scale = np.ones(len(mean), np.float32) if scale is None else scale
    shift = np.zeros(len(mean), np.float32) if shift is None else shift
    if any(values.shape != (count,) for values in (mean, variance, scale, shift)):
        graph.fail(
            f"it has {mean.size} means and {variance.size} variances, but its input has the shape "
            f"{list(graph.shape(tensor))}."
        )
    return graph.node(
        "BatchNormalization",
        tensor,
        graph.weight(scale, f"{name}_scale"),
        graph.weight(shift, f"{name}_shift"),
        graph.weight(mean, f"{name}_mean"),
        graph.weight(variance, f"{name}_variance"),
        name=name,
        epsilon=epsilon,
    )


def at_least(graph: Graph, one: str, other: str, name: str = "") -> str:
    """Whether values are not less than others (older onnx infers no shape for GreaterOrEqual)."""
    return graph.node("Not", graph.node("Less", one, other), name=name)


def along_axis(graph: Graph, values: Array, axis: int, rank: int, name: str = "factor") -> str:
    """A constant whose dimensions lie from `axis` on, so that it broadcasts over the rest."""
    axis = axis + rank if axis < 0 else axis
    after = rank - axis - values.ndim
    if after < 0 and values.size != 1:
        graph.fail(
            f"its values have the shape {list(values.shape)}, too many dimensions from axis {axis} "
            f"of {rank}."
        )
    return graph.weight(values.reshape(values.shape + (1,) * max(after, 0)), name)


def flatten(graph: Graph, tensor: str, axis: int = 1, end: int = -1, name: str = "") -> str:
    """Join the dimensions from `axis` to `end` (inclusive)."""
    rank = graph.rank(tensor)
    axis, end = axis % rank, end % rank
    if axis > end:
        graph.fail(f"it joins the axes {axis} to {end}.")
    shape = graph.shape(tensor)
    kept = [0] * axis
    after = [graph.fixed(size, tensor) for size in shape[end + 1 :]]
    return graph.reshape(tensor, [*kept, -1, *after], name)


def dense(graph: Graph, tensor: str, weight: Array, bias: Array | None, *, name: str = "") -> str:
    """A fully connected layer over the last dimension of a matrix.

    Args:
        weight: `(out, in)`.
    """
    if graph.shape(tensor)[-1] != weight.shape[1]:
        graph.fail(
            f"its weights are {list(weight.shape)}, but its input has {graph.shape(tensor)[-1]} "
            f"values a row: was the network trained for another input size? (--input-shape)"
        )
    inputs = [tensor, graph.weight(weight, f"{name}_weight")]
    if bias is not None:
        inputs.append(graph.weight(bias, f"{name}_bias"))
    return graph.node("Gemm", *inputs, name=name, transB=1)


def resize(
    graph: Graph,
    tensor: str,
    out_hw: Pair,
    *,
    mode: str,
    coordinates: str,
    nearest: str = "floor",
    scale_hw: tuple[float, float] | None = None,
    name: str = "",
) -> str:
    """Resize pictures to a size.

    Args:
        scale_hw: what a pixel's place is computed with, where the size was rounded after it.
    """
    if min(out_hw) < 1:
        graph.fail(f"it would give a picture of {out_hw[1]}x{out_hw[0]}.")
    count, channels = graph.shape(tensor)[:2]
    sizes = graph.ints(
        graph.fixed(count, tensor), graph.fixed(channels, tensor), out_hw[0], out_hw[1]
    )
    settings = {"nearest_mode": nearest} if mode == "nearest" else {}
    target = ["", sizes]
    if scale_hw is not None:
        target = [graph.weight((1, 1, *scale_hw)), ""]
    return graph.node(
        "Resize",
        tensor,
        "",
        *target,
        name=name,
        mode=mode,
        coordinate_transformation_mode=coordinates,
        **settings,
    )
