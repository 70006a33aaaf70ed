"""From many scored boxes to the few that count: class filter, NMS, the frame's pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import UsageError, suggest
from edgeinfer.heads.base import View
from edgeinfer.packages import opencv
from edgeinfer.results import Detections
from edgeinfer.spec import ModelSpec

DEFAULT_THRESHOLDS = {"score": 0.25, "iou": 0.45, "max_detections": 300.0}
# More candidates than this never reach NMS: the best are kept (as Ultralytics' max_nms does).
_MAX_CANDIDATES = 30000
# Up to so many, OpenCV is faster than numpy.
_FEW = 256

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Shaped = tuple[str, tuple[int | str, ...]]


def threshold(spec: ModelSpec, key: str) -> float:
    """A threshold of the spec, or its default."""
    return float(spec.thresholds.get(key, DEFAULT_THRESHOLDS[key]))


def class_numbers(
    names: tuple[str, ...], labels: tuple[str, ...], count: int | None
) -> tuple[int, ...]:
    """Class numbers from labels or numbers.

    Args:
        names: labels or numbers.
        labels: every label of the model, empty where unknown.
        count: of classes, None where that is unknown.

    Raises:
        UsageError: for a name that is no label, with a suggestion.
    """
    found = []
    limit = count if count is not None else len(labels) or 1 << 31
    for name in names:
        if name in labels:
            found.append(labels.index(name))
        elif name.isdecimal() and int(name) < limit:
            found.append(int(name))
        else:
            hint = suggest(name, labels) if labels else f"Give numbers below {limit}."
            raise UsageError(f"There is no class '{name}'. {hint}")
    return tuple(found)


def xywh_to_xyxy(boxes: Floats) -> Floats:
    """`(N, 4)` centre and size to corners."""
    half = boxes[:, 2:] / 2
    return np.concatenate((boxes[:, :2] - half, boxes[:, :2] + half), axis=1)


def nms(boxes: Floats, scores: Floats, class_ids: Ints, iou: float, limit: int) -> Ints:
    """Greedy non-maximum suppression within each class.

    Args:
        boxes: `(N, 4)` float32 corners; scores: `(N,)`; class_ids: `(N,)`.
        iou: boxes that overlap a better one by more than this are dropped.
        limit: at most this many are kept.

    Returns:
        Indices of the kept boxes, best first; equal scores keep their order.
    """
    # Boxes of different classes are moved apart, so that they cannot overlap.
    span = float(boxes.max() - boxes.min()) + 1 if len(boxes) else 0.0
    moved = boxes.astype(np.float64) + (class_ids * span)[:, None]
    if len(boxes) <= _FEW:
        kept_few = _nms_of_few(moved, scores, iou)
        if kept_few is not None:
            return kept_few[:limit]
    order = np.argsort(-scores, kind="stable")[:_MAX_CANDIDATES]
    x1, y1, x2, y2 = moved[order].T
    areas = np.maximum(x2 - x1, 0) * np.maximum(y2 - y1, 0)
    kept: list[int] = []
    rest = np.arange(len(order))
    while rest.size and len(kept) < limit:
        best, rest = rest[0], rest[1:]
        kept.append(int(order[best]))
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        rest = rest[shared <= iou * (areas[best] + areas[rest] - shared)]
    return np.array(kept, np.int64)


def _nms_of_few(boxes: NDArray[np.float64], scores: Floats, iou: float) -> Ints | None:
    """The same by OpenCV, which is faster for few boxes: 13 us against 57 for 53 of them.

    Returns:
        None where it would decide otherwise: it wants scores above 0, and takes boxes without area
        for one and the same.
    """
    rows = boxes.copy()
    rows[:, 2:] -= boxes[:, :2]
    if not len(rows) or rows[:, 2:].min() <= 0 or scores.min() <= 0:
        return None
    kept = opencv().dnn.NMSBoxes(rows, scores, 0.0, iou)
    return np.asarray(kept, np.int64).ravel()


def finish(
    boxes: Floats,
    scores: Floats,
    class_ids: Ints,
    view: View,
    spec: ModelSpec,
    *,
    peak: float,
    suppress: bool = True,
) -> Detections:
    """Make detections of boxes in model pixels whose scores already passed the threshold.

    Args:
        boxes: `(N, 4)` float32 corners; scores: `(N,)` float32; class_ids: `(N,)` int64.
        peak: the largest score of all, before the threshold: not a number where any was none.
        suppress: False where the graph did NMS itself.
    """
    limit = int(threshold(spec, "max_detections"))
    if spec.keep_classes:
        wanted = np.isin(class_ids, spec.keep_classes)
        boxes, scores, class_ids = boxes[wanted], scores[wanted], class_ids[wanted]
    flags = () if math.isfinite(peak) else ("nonfinite",)
    if not np.isfinite(boxes).all():
        flags = ("nonfinite",)
        whole = np.isfinite(boxes).all(axis=1)
        boxes, scores, class_ids = boxes[whole], scores[whole], class_ids[whole]
    if suppress:
        kept = nms(boxes, scores, class_ids, threshold(spec, "iou"), limit)
    else:
        kept = np.argsort(-scores, kind="stable")[:limit]
    placed = view.to_frame.boxes(boxes[kept])
    if view.frame_wh is not None:
        width, height = view.frame_wh
        np.clip(placed[:, 0::2], 0, width, out=placed[:, 0::2])
        np.clip(placed[:, 1::2], 0, height, out=placed[:, 1::2])
    return Detections(
        placed.astype(np.float32, copy=False),
        scores[kept].astype(np.float32),
        class_ids[kept].astype(np.int64),
        spec.labels,
        flags,
    )


def peak_of(scores: Floats) -> float:
    """The largest score, not a number where any is none; 0 where there are none."""
    return float(np.maximum.reduce(scores)) if len(scores) else 0.0


def apart(shapes: Sequence[Shaped]) -> tuple[Shaped, Shaped]:
    """The output of boxes and the one of scores; where both have 4 columns, boxes come first
    unless a name says otherwise.

    Args:
        shapes: name and shape of the two outputs.
    """
    one, other = shapes
    if other[1][-1] == 4 and (one[1][-1] != 4 or _says_boxes(other[0])):
        return other, one
    return one, other


def _says_boxes(name: str) -> bool:
    return any(word in name.lower() for word in ("loc", "box", "reg"))
