"""YOLOv5 and YOLOX: `[1, N, 5 + classes]` rows of box, objectness, class scores."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import SpecError
from edgeinfer.frames import Arrays
from edgeinfer.heads.base import GRIDS, Graph, View, cells, grid_counts, only_output
from edgeinfer.heads.boxes import Floats, Ints, finish, peak_of, threshold, xywh_to_xyxy
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec

# exp() of more than this is a box wider than any picture: the values are not logarithms.
_MAX_LOG_SIZE = 12.0


def _why_not_rows(graph: Graph, anchors: int) -> str | None:
    shape = only_output(graph, rank=3)
    if isinstance(shape, str):
        return shape
    _, count, columns = shape
    if isinstance(columns, str) or columns < 6:
        return f"its rows have 5 + classes values, this output is {list(shape)}"
    usual = grid_counts(graph, anchors)
    if usual and isinstance(count, int) and count not in usual:
        return f"it gives {usual[0]} predictions for this input, this output has {count}"
    return None


def _survivors(raw: Floats, spec: ModelSpec) -> tuple[Ints, Floats, Floats, Ints]:
    """Rows whose objectness times best class score passes.

    Returns:
        Row numbers, the rows, scores, class ids.
    """
    limit = threshold(spec, "score")
    # A score is at most its objectness, so one column decides about most rows.
    chosen = np.flatnonzero(raw[:, 4] > limit)
    rows = raw[chosen].astype(np.float32)
    class_ids = rows[:, 5:].argmax(axis=1)
    scores = rows[:, 4] * rows[np.arange(len(rows)), 5 + class_ids]
    good = scores > limit
    return chosen[good], rows[good], scores[good], class_ids[good]


class _Rows:
    task = "detect"

    def classes(self, graph: Graph) -> int | None:
        columns = graph.outputs[0].shape[2]
        return columns - 5 if isinstance(columns, int) else None


class YoloV5(_Rows):
    """Centre x, centre y, width, height in model pixels, objectness, class scores (v5, v7, v6)."""

    name = "yolov5"

    def why_not(self, graph: Graph) -> str | None:
        return _why_not_rows(graph, anchors=3)

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """`[B, N, 5 + classes]` to detections."""
        (output,) = outputs.values()
        found = []
        for raw, view in zip(output, views, strict=True):
            _, rows, scores, class_ids = _survivors(raw, spec)
            boxes = xywh_to_xyxy(rows[:, :4])
            peak = peak_of(raw[:, 4])
            found.append(finish(boxes, scores, class_ids, view, spec, peak=peak))
        return found


@functools.lru_cache(maxsize=8)
def grid(input_hw: tuple[int, int], count: int) -> tuple[NDArray[np.float32], Floats]:
    """Cell corners `(N, 2)` and strides `(N, 1)` of every prediction, in the output's order."""
    strides = next((item for item in GRIDS if cells(input_hw, item) == count), None)
    if strides is None:
        raise SpecError(
            f"The head 'yolox' needs {cells(input_hw, GRIDS[0])} predictions for an input of "
            f"{input_hw[1]}x{input_hw[0]}; this output has {count}."
        )
    corners, sizes = [], []
    for stride in strides:
        rows, columns = -(-input_hw[0] // stride), -(-input_hw[1] // stride)
        y, x = np.mgrid[:rows, :columns]
        corners.append(np.stack((x, y), axis=-1).reshape(-1, 2))
        sizes.append(np.full((rows * columns, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(sizes).astype(np.float32)


class YoloX(_Rows):
    """Offsets within grid cells and logarithms of sizes, both in strides (YOLOX's raw export).

    Source: Ge et al. 2021, https://arxiv.org/abs/2107.08430, and its demo's `demo_postprocess`.
    """

    name = "yolox"

    def why_not(self, graph: Graph) -> str | None:
        return _why_not_rows(graph, anchors=1)

    def decode(
        self, outputs: Arrays, views: Sequence[View], spec: ModelSpec
    ) -> Sequence[Detections]:
        """`[B, N, 5 + classes]` to detections.

        Raises:
            SpecError: if the values are boxes already: the graph decoded them.
        """
        (output,) = outputs.values()
        size = spec.inputs[0].size_hw
        if size is None:
            raise SpecError("The head 'yolox' needs the input's size_hw in the spec.")
        corners, strides = grid(size, output.shape[1])
        found = []
        for raw, view in zip(output, views, strict=True):
            chosen, rows, scores, class_ids = _survivors(raw, spec)
            if len(rows) and float(rows[:, 2:4].max()) > _MAX_LOG_SIZE:
                raise SpecError(
                    "The head 'yolox' expects raw grid offsets, this output holds boxes in "
                    "pixels: give --head yolov5, which takes decoded boxes with objectness."
                )
            step = strides[chosen]
            centres = (rows[:, :2] + corners[chosen]) * step
            boxes = xywh_to_xyxy(np.concatenate((centres, np.exp(rows[:, 2:4]) * step), axis=1))
            peak = peak_of(raw[:, 4])
            found.append(finish(boxes, scores, class_ids, view, spec, peak=peak))
        return found
