"""Turned boxes: YOLOv8-obb and its successors, `[1, 4 + classes + 1, N]`.

Centre, width, height in model pixels, a score per class, then the angle by which the width turns
away from the x axis, in radians, clockwise on the picture (https://docs.ultralytics.com/tasks/obb).
Exported end to end, it is `[1, N, 7]`: centre, width, height, score, class, angle. Overlap is that
of the Gaussians that the boxes stand for, as in Ultralytics' own suppression (Llerena et al. 2021,
https://arxiv.org/abs/2106.06072).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.frames import Arrays
from edgeinfer.heads.base import Graph, View, grid_counts, only_output
from edgeinfer.heads.boxes import Floats, Ints, peak_of, threshold
from edgeinfer.results import Oriented
from edgeinfer.spec import ModelSpec

_MAX_CANDIDATES = 2000
Doubles = NDArray[np.float64]


class YoloV8Obb:
    """Columns of centre x, centre y, width, height, a score per class, angle.

    Options: ``end2end`` (rows of centre, size, score, class, angle).
    """

    name = "yolov8-obb"
    task = "obb"

    def why_not(self, graph: Graph) -> str | None:
        shape = only_output(graph, rank=3)
        if isinstance(shape, str):
            return shape
        if graph.options.get("end2end"):
            return None if shape[2] == 7 else f"its rows have 7 values, this output {list(shape)}"
        if isinstance(shape[1], int) and shape[1] < 6:
            return f"it has at least 6 rows, this output has {shape[1]}"
        usual = grid_counts(graph, 1)
        if usual and isinstance(shape[2], int) and shape[2] not in usual:
            return f"it gives {usual[0]} predictions for this input, this output has {shape[2]}"
        return None

    def classes(self, graph: Graph) -> int | None:
        rows = graph.outputs[0].shape[1]
        return None if isinstance(rows, str) or graph.options.get("end2end") else rows - 5

    def decode(self, outputs: Arrays, views: Sequence[View], spec: ModelSpec) -> Sequence[Oriented]:
        """`[B, 4 + classes + 1, N]` to turned boxes; the best class counts."""
        (output,) = outputs.values()
        end2end = bool(spec.head_options.get("end2end"))
        found = []
        for raw, view in zip(output, views, strict=True):
            best = raw[:, 4] if end2end else raw[4:-1].max(axis=0)
            passing = np.flatnonzero(best > threshold(spec, "score"))
            if end2end:
                rows = raw[passing].astype(np.float32)
                boxes, class_ids = rows[:, [0, 1, 2, 3, 6]], rows[:, 5].astype(np.int64)
            else:
                rows = raw[:, passing].T.astype(np.float32)
                boxes, class_ids = rows[:, [0, 1, 2, 3, -1]], rows[:, 4:-1].argmax(axis=1)
            scores = best[passing].astype(np.float32)
            found.append(_finish(boxes, scores, class_ids, view, spec, peak_of(best), end2end))
        return found


def _finish(
    boxes: Floats,
    scores: Floats,
    class_ids: Ints,
    view: View,
    spec: ModelSpec,
    peak: float,
    end2end: bool,
) -> Oriented:
    good = np.isfinite(boxes).all(axis=1)
    flags = () if np.isfinite(peak) and good.all() else ("nonfinite",)
    if spec.keep_classes:
        good &= np.isin(class_ids, spec.keep_classes)
    boxes, scores, class_ids = boxes[good], scores[good], class_ids[good]
    limit = int(threshold(spec, "max_detections"))
    if end2end:
        kept = np.argsort(-scores, kind="stable")[:limit]
    else:
        kept = rotated_nms(boxes, scores, class_ids, threshold(spec, "iou"), limit)
    polygons = view.to_frame.points(corners(boxes[kept]))
    low, high = polygons.min(axis=1), polygons.max(axis=1)
    upright = np.concatenate((low, high), axis=1).reshape(-1, 4)
    if view.frame_wh is not None:
        upright = np.clip(upright, 0, np.tile(np.array(view.frame_wh, np.float32), 2))
    ids = class_ids[kept].astype(np.int64)
    return Oriented(upright, scores[kept], ids, spec.labels, flags, polygons)


def corners(boxes_xywhr: Floats) -> Floats:
    """`(N, 5)` centre, size and angle to `(N, 4, 2)` corners in order around the box."""
    centre, width, height = boxes_xywhr[:, :2], boxes_xywhr[:, 2:3], boxes_xywhr[:, 3:4]
    cosine, sine = np.cos(boxes_xywhr[:, 4:5]), np.sin(boxes_xywhr[:, 4:5])
    along = np.concatenate((width / 2 * cosine, width / 2 * sine), axis=1)
    across = np.concatenate((-height / 2 * sine, height / 2 * cosine), axis=1)
    return np.stack(
        (
            centre - along - across,
            centre + along - across,
            centre + along + across,
            centre - along + across,
        ),
        axis=1,
    )


def gaussians(boxes_xywhr: Floats) -> Doubles:
    """`(N, 6)`: mean x, y, the spread's xx, yy, xy, and its determinant."""
    boxes = boxes_xywhr.astype(np.float64)
    w, h = boxes[:, 2] ** 2 / 12, boxes[:, 3] ** 2 / 12
    cosine, sine = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    xx, yy = w * cosine**2 + h * sine**2, w * sine**2 + h * cosine**2
    xy = (w - h) * cosine * sine
    spread = np.clip(xx * yy - xy**2, 0, None)
    return np.stack((boxes[:, 0], boxes[:, 1], xx, yy, xy, spread), axis=1)


def prob_iou(one: Doubles, others: Doubles) -> Doubles:
    """Overlap of one of the `gaussians`, `(6,)`, with `(N, 6)` others: `(N,)` in [0, 1]."""
    tiny = 1e-7
    dx, dy, xx, yy, xy = (one[:5] * (-1, -1, 1, 1, 1) + others[:, :5]).T
    spread = xx * yy - xy**2 + tiny
    near = (xx * dy**2 + yy * dx**2) / spread / 4 - xy * dx * dy / spread / 2
    alike = np.log(spread / (4 * np.sqrt(one[5] * others[:, 5]) + tiny) + tiny) / 2
    distance = np.clip(near + alike, tiny, 100.0)
    return np.asarray(1 - np.sqrt(1 - np.exp(-distance) + tiny))


def rotated_nms(boxes: Floats, scores: Floats, class_ids: Ints, iou: float, limit: int) -> Ints:
    """Greedy suppression of turned boxes within each class; best first."""
    rest = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    shapes = gaussians(boxes)
    kept: list[int] = []
    while rest.size and len(kept) < limit:
        best, rest = rest[0], rest[1:]
        kept.append(int(best))
        apart = class_ids[rest] != class_ids[best]
        rest = rest[apart | (prob_iou(shapes[best], shapes[rest]) <= iou)]
    return np.array(kept, np.int64)
