"""What heads of objects with more than a box share: which ones count, and where they lie."""

from __future__ import annotations

import math

import numpy as np

from edgeinfer.errors import SpecError
from edgeinfer.heads.base import View
from edgeinfer.heads.boxes import Floats, Ints, nms, threshold
from edgeinfer.results import Poses
from edgeinfer.spec import ModelSpec


def chosen(
    boxes: Floats,
    scores: Floats,
    class_ids: Ints,
    spec: ModelSpec,
    *,
    peak: float,
    suppress: bool = True,
) -> tuple[Ints, tuple[str, ...]]:
    """Which of the objects that passed the score threshold are reported.

    Args:
        boxes: `(N, 4)` float32 corners; scores: `(N,)`; class_ids: `(N,)`.
        peak: the largest score of all, before the threshold: not a number where any was none.
        suppress: False where the graph did NMS itself.

    Returns:
        Their positions, best first, and flags.
    """
    good = np.isfinite(boxes).all(axis=1)
    flags = () if math.isfinite(peak) and good.all() else ("nonfinite",)
    if spec.keep_classes:
        good &= np.isin(class_ids, spec.keep_classes)
    places = np.flatnonzero(good)
    limit = int(threshold(spec, "max_detections"))
    if suppress:
        iou = threshold(spec, "iou")
        kept = nms(boxes[places], scores[places], class_ids[places], iou, limit)
    else:
        kept = np.argsort(-scores[places], kind="stable")[:limit]
    return places[kept], flags


def in_frame(boxes: Floats, view: View) -> Floats:
    """`(N, 4)` corners in model pixels to corners in frame pixels, cut to the frame."""
    placed = view.to_frame.boxes(boxes)
    if view.frame_wh is not None:
        width, height = view.frame_wh
        np.clip(placed[:, 0::2], 0, width, out=placed[:, 0::2])
        np.clip(placed[:, 1::2], 0, height, out=placed[:, 1::2])
    return placed.astype(np.float32, copy=False)


def distances_to_corners(centres: Floats, distances: Floats) -> Floats:
    """`(N, 2)` points and `(N, 4)` distances to left, top, right, bottom: `(N, 4)` corners."""
    return np.concatenate((centres - distances[:, :2], centres + distances[:, 2:]), axis=1)


def grid(input_hw: tuple[int, int], stride: int, repeat: int = 1) -> Floats:
    """`(N, 2)` columns and rows of the cells of one stride, each `repeat` times."""
    rows, columns = -(-input_hw[0] // stride), -(-input_hw[1] // stride)
    y, x = np.mgrid[:rows, :columns]
    cells = np.stack((x, y), axis=-1).reshape(-1, 2).astype(np.float32)
    return np.repeat(cells, repeat, axis=0)


def input_hw(spec: ModelSpec) -> tuple[int, int]:
    """Height and width of the picture input.

    Raises:
        SpecError: if the spec does not say.
    """
    for item in spec.inputs:
        if item.kind == "image" and item.size_hw is not None:
            return item.size_hw
    raise SpecError(f"The head '{spec.head}' needs the picture input's size_hw in the spec.")


def faces(
    boxes: Floats, scores: Floats, points: Floats, view: View, spec: ModelSpec, peak: float
) -> Poses:
    """Boxes of one class, `(N, 4)` corners in model pixels, with landmarks `(N, K, 2)`."""
    ids = np.zeros(len(boxes), np.int64)
    kept, flags = chosen(boxes, scores, ids, spec, peak=peak)
    placed = np.ones((len(kept), points.shape[1], 3), np.float32)
    placed[:, :, :2] = view.to_frame.points(points[kept])
    if not np.isfinite(placed).all():
        flags = ("nonfinite",)
    found = in_frame(boxes[kept], view), scores[kept].astype(np.float32), ids[kept]
    return Poses(*found, spec.labels, flags, placed)
