"""A class for each pixel: scores `[1, C, H, W]`, or class numbers `[1, H, W]`, `[1, 1, H, W]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View
from edgeinfer.heads.instances import input_hw
from edgeinfer.packages import opencv
from edgeinfer.results import ClassMap
from edgeinfer.spec import ModelSpec

_MOST_CLASSES = 65535


class Semantic:
    """The best class of each pixel; of a single map of scores, whether it passes the threshold.

    Options: ``layout`` (``nchw``, or ``nhwc`` for `[1, H, W, C]`); ``upsample``: how scores that
    are coarser than the input become as fine (``linear``, as these networks are judged, or
    ``nearest``, which is cheaper); ``activation`` of a single map: ``none`` where it holds
    probabilities, ``sigmoid`` where it holds logits. Labels of a single map are background and
    object, its threshold is ``score`` (0.5).
    """

    name = "semantic"
    task = "semantic"

    def why_not(self, graph: Graph) -> str | None:
        if len(graph.outputs) != 1:
            return f"it has one output, this graph has {len(graph.outputs)}"
        output = graph.outputs[0]
        if len(output.shape) == 3 and "int" not in output.dtype:
            return f"an output of 3 dimensions holds class numbers, this one is {output.dtype}"
        if len(output.shape) not in (3, 4):
            return f"its output is [1, C, H, W] or [1, H, W], this one is {list(output.shape)}"
        return _too_coarse(graph) if graph.guessing and not graph.options else None

    def classes(self, graph: Graph) -> int | None:
        output = graph.outputs[0]
        if len(output.shape) == 3 or "int" in output.dtype:
            return None
        count = output.shape[3 if graph.options.get("layout") == "nhwc" else 1]
        return None if isinstance(count, str) else max(2, count)

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[ClassMap]:
        """Scores or class numbers to the class of each pixel of the frame."""
        (output,) = outputs.values()
        if output.ndim == 4 and spec.head_options.get("layout") == "nhwc":
            output = output.transpose(0, 3, 1, 2)
        found = []
        for raw, view in zip(output, views, strict=True):
            flags: tuple[str, ...] = ()
            if raw.dtype.kind in "iu":
                classes = _numbers(raw.reshape(raw.shape[-2:]))
            else:
                # The largest is no number where any is none.
                flags = () if np.isfinite(raw.max()) else ("nonfinite",)
                classes = _best(raw, spec)
            found.append(ClassMap(_over_frame(classes, view, spec), spec.labels, flags))
        return found


def _too_coarse(graph: Graph) -> str | None:
    """Why a map of scores is too coarse to be taken for one of classes, or None."""
    output = graph.outputs[0]
    sides = output.shape[2:]
    if len(output.shape) != 4 or "int" in output.dtype or graph.input_hw is None:
        return None
    strides = [
        have / side
        for have, side in zip(graph.input_hw, sides, strict=True)
        if isinstance(side, int) and side
    ]
    if all(stride in (1, 2, 4, 8) for stride in strides) and len(set(strides)) <= 1:
        return None
    return f"it is as fine as the input, or 2, 4 or 8 times as coarse, not {list(output.shape)}"


def _numbers(raw: Array) -> Array:
    low, high = int(raw.min()), int(raw.max())
    if low < 0 or high > _MOST_CLASSES:
        raise SpecError(
            f"The head 'semantic' reads class numbers from 0 to {_MOST_CLASSES}; this output holds "
            f"{low if low < 0 else high}: it is no class map."
        )
    return raw.astype(np.uint8 if high < 256 else np.uint16)


def _best(raw: Array, spec: ModelSpec) -> Array:
    """`(C, h, w)` scores to `(h, w)` class numbers, as fine as the model's input."""
    cv2 = opencv()
    height, width = input_hw(spec)
    options: Mapping[str, Any] = spec.head_options
    coarse = raw.shape[1] < height or raw.shape[2] < width
    fine = coarse and options.get("upsample", "linear") == "linear"
    size = (width, height)

    def plane(number: int) -> Array:
        scores = np.ascontiguousarray(raw[number], np.float32)
        return cv2.resize(scores, size, interpolation=cv2.INTER_LINEAR) if fine else scores

    if len(raw) == 1:
        limit = float(spec.thresholds.get("score", 0.5))
        if options.get("activation") == "sigmoid":
            with np.errstate(divide="ignore"):
                limit = float(np.log(limit) - np.log1p(-limit))
        return (plane(0) > limit).astype(np.uint8)
    # One map at a time: all of them, made fine, would be hundreds of megabytes, and of 21 maps of
    # 512x512 numpy's argmax over the first axis takes 13 ms, this 2. Numbers only grow, so the
    # largest that ever won is the best.
    top = plane(0).copy()
    kind = np.uint8 if len(raw) <= 256 else np.uint16
    best, won = np.zeros(top.shape, kind), np.empty(top.shape, kind)
    better = np.empty(top.shape, bool)
    for number in range(1, len(raw)):
        scores = plane(number)
        np.greater(scores, top, out=better)
        np.multiply(better.view(np.uint8), kind(number), out=won)
        np.maximum(best, won, out=best)
        np.maximum(top, scores, out=top)
    return best


def _over_frame(classes: Array, view: View, spec: ModelSpec) -> Array:
    """`(h, w)` over the model's input to `(H, W)` over the frame: each pixel takes the class at
    its centre."""
    if view.frame_wh is None:
        return classes
    height, width = input_hw(spec)
    (sx, _, tx), (_, sy, ty) = view.to_frame.matrix.tolist()
    columns = ((np.arange(view.frame_wh[0]) + 0.5 - tx) / sx * classes.shape[1] / width).astype(int)
    rows = ((np.arange(view.frame_wh[1]) + 0.5 - ty) / sy * classes.shape[0] / height).astype(int)
    np.clip(columns, 0, classes.shape[1] - 1, out=columns)
    np.clip(rows, 0, classes.shape[0] - 1, out=rows)
    return np.asarray(classes[rows][:, columns])
