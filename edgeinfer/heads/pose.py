"""Keypoints beside boxes: YOLOv8-pose and its successors, `[1, 4 + classes + K * D, N]`.

The layouts are Ultralytics' export formats (https://docs.ultralytics.com/tasks/pose): keypoints are
x, y in model pixels and, where D is 3, how visible they are. Exported end to end (NMS inside the
graph, or YOLO26), it is `[1, N, 6 + K * D]`: corners, score, class, keypoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.frames import Array, Arrays
from edgeinfer.heads.base import Graph, View, grid_counts, only_output
from edgeinfer.heads.boxes import Floats, peak_of, threshold, xywh_to_xyxy
from edgeinfer.heads.instances import chosen, in_frame
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec

# COCO's people: 17 joints of x, y, visibility. Nothing else is guessed from a shape alone.
COCO_SHAPE = (17, 3)


def keypoint_shape(options: Any, values: int | None) -> tuple[int, int] | str:
    """Number of keypoints and values of each, from the option `kpt_shape` or the graph.

    Args:
        options: the spec's `head_options`.
        values: what one prediction has beside its box and one class score, None where open.

    Returns:
        The two, or why they are not known.
    """
    given = options.get("kpt_shape")
    if given is not None:
        return given[0], given[1]
    if values == COCO_SHAPE[0] * COCO_SHAPE[1]:
        return COCO_SHAPE
    return 'how many keypoints it has is not known: give head_options {"kpt_shape": [17, 3]}'


class YoloV8Pose:
    """Columns of centre x, centre y, width, height, a score per class, then the keypoints.

    Options: ``kpt_shape`` ([K, D], else 17 x 3 where the shape says so), ``end2end`` (rows of
    corners, score, class, keypoints).
    """

    name = "yolov8-pose"
    task = "pose"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=3)
        if isinstance(shape, str):
            return shape
        end2end = bool(graph.options.get("end2end"))
        size = shape[2] if end2end else shape[1]
        known = keypoint_shape(graph.options, None if isinstance(size, str) else size - 5)
        if isinstance(known, str):
            return known
        if isinstance(size, str):
            return None
        least = (6 if end2end else 5) + known[0] * known[1]
        if size < least or (end2end and size != least):
            return (
                f"with {known[0]}x{known[1]} keypoints it has {least} values, this one has {size}"
            )
        usual = () if end2end else grid_counts(graph, 1)
        if usual and isinstance(shape[2], int) and shape[2] not in usual:
            return f"it gives {usual[0]} predictions for this input, this output has {shape[2]}"
        return None

    def classes(self, graph: Graph) -> int | None:
        rows = graph.outputs[0].shape[1]
        if isinstance(rows, str) or graph.options.get("end2end"):
            return None
        known = keypoint_shape(graph.options, rows - 5)
        return None if isinstance(known, str) else rows - 4 - known[0] * known[1]

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Poses]:
        """`[B, 4 + classes + K * D, N]` to boxes and keypoints; the best class counts."""
        (output,) = outputs.values()
        end2end = bool(spec.head_options.get("end2end"))
        sizes = output.shape[2] - 6 if end2end else output.shape[1] - 5
        known = keypoint_shape(spec.head_options, sizes)
        if isinstance(known, str) or sizes < known[0] * known[1]:
            raise SpecError(
                f"The head '{self.name}' does not fit the output {list(output.shape)}: it holds "
                f"too few values, or how many keypoints there are is not known. Give head_options "
                f'{{"kpt_shape": [keypoints, 2 or 3]}}.'
            )
        read = _rows if end2end else _columns
        found = []
        for raw, view in zip(output, views, strict=True):
            boxes, scores, class_ids, extra, peak = read(raw, known[0] * known[1], spec)
            kept, flags = chosen(boxes, scores, class_ids, spec, peak=peak, suppress=not end2end)
            points, more = place(extra[kept].reshape(-1, *known), view)
            flags = flags or more
            found.append(
                Poses(
                    in_frame(boxes[kept], view),
                    scores[kept],
                    class_ids[kept],
                    spec.labels,
                    flags,
                    points,
                )
            )
        return found


def _columns(raw: Array, values: int, spec: ModelSpec) -> tuple[Floats, Floats, Any, Floats, float]:
    best = raw[4 : len(raw) - values].max(axis=0)
    passing = np.flatnonzero(best > threshold(spec, "score"))
    columns = raw[:, passing].astype(np.float32)
    class_ids = columns[4 : len(raw) - values].argmax(axis=0)
    scores = best[passing].astype(np.float32)
    boxes = xywh_to_xyxy(columns[:4].T)
    return boxes, scores, class_ids, columns[len(raw) - values :].T, peak_of(best)


def _rows(raw: Array, values: int, spec: ModelSpec) -> tuple[Floats, Floats, Any, Floats, float]:
    rows = raw[raw[:, 4] > threshold(spec, "score")].astype(np.float32)
    class_ids = rows[:, 5].astype(np.int64)
    return rows[:, :4], rows[:, 4], class_ids, rows[:, 6:], peak_of(raw[:, 4])


def place(points: Floats, view: View) -> tuple[Floats, tuple[str, ...]]:
    """`(N, K, 2 or 3)` in model pixels to `(N, K, 3)` in frame pixels, and flags.

    A point without a number of its own for how sure it is counts as sure.
    """
    placed = np.ones((*points.shape[:2], 3), np.float32)
    placed[:, :, :2] = view.to_frame.points(points[:, :, :2])
    if points.shape[2] == 3:
        placed[:, :, 2] = points[:, :, 2]
    return placed, () if np.isfinite(placed).all() else ("nonfinite",)
