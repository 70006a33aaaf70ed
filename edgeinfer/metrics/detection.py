"""Average precision of detections, as COCO's evaluation defines it.

Source: Lin et al., "Microsoft COCO: Common Objects in Context" (https://arxiv.org/abs/1405.0312)
and its reference code, `cocoeval.py` of pycocotools (https://github.com/cocodataset/cocoapi):
detections of a class are matched greedily, best score first, each to the free true box that it
overlaps most; precision is made monotone and read at 101 recalls; classes without a true box do
not count. At most 100 detections per picture and class enter, as in the reference code. Crowd
regions and area ranges do not exist here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass

IOU_THRESHOLDS: NDArray[np.float64] = np.linspace(0.5, 0.95, 10)
RECALLS: NDArray[np.float64] = np.linspace(0.0, 1.0, 101)
MAX_DETECTIONS = 100

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Overlap = Callable[[Ints, Ints], Floats]


def iou_matrix(a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating]) -> Floats:
    """Intersection over union of every `(A, 4)` box with every `(B, 4)` box: `(A, B)` float64."""
    a, b = np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=-1)
    area_a = (a[:, 2:] - a[:, :2]).prod(axis=-1)
    area_b = (b[:, 2:] - b[:, :2]).prod(axis=-1)
    union = area_a[:, None] + area_b[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def match(overlaps: Floats, thresholds: Floats = IOU_THRESHOLDS) -> Bools:
    """Give each detection the free true box that it overlaps most, at every threshold.

    Args:
        overlaps: `(D, G)` IoU, detections in descending order of score.
        thresholds: `(T,)` IoU that a match needs.

    Returns:
        `(T, D)`: whether the detection found a box.
    """
    count, boxes = overlaps.shape
    hits = np.zeros((len(thresholds), count), bool)
    if boxes == 0:
        return hits
    free = np.ones((len(thresholds), boxes), bool)
    rows = np.arange(len(thresholds))
    # Rounding must not turn an IoU that equals the threshold into a miss (cocoeval does the same).
    needed = np.minimum(thresholds, 1 - 1e-10)
    for index in range(count):
        usable = np.where(free, overlaps[index], -1.0)
        # Among equals the last box wins, as in cocoeval.
        best = boxes - 1 - np.argmax(usable[:, ::-1], axis=1)
        hit = usable[rows, best] >= needed
        hits[:, index] = hit
        free[rows[hit], best[hit]] = False
    return hits


@dataclass(frozen=True)
class DetectionScores:
    """The figures of a detector.

    Attributes:
        map50: mean average precision at IoU 0.5, NaN where no picture holds an object.
        map50_95: its mean over IoU 0.5, 0.55, ..., 0.95.
        precision: share of detections at the operating threshold that are right at IoU 0.5, NaN
            where there are none.
        recall: share of true boxes that they find.
        per_class: map50 of each class that has true boxes, by class id.
    """

    map50: float
    map50_95: float
    precision: float
    recall: float
    per_class: Mapping[int, float]


class DetectionMetric:
    """Collects pictures one by one; memory grows by a few bytes per detection.

    Args:
        score_threshold: the operating threshold, at which precision and recall are stated.
        limit: most objects of a class that a picture may show.
    """

    def __init__(self, score_threshold: float = 0.25, limit: int = MAX_DETECTIONS) -> None:
        self._score_threshold = score_threshold
        self._limit = limit
        self._harmless: dict[int, list[Bools]] = {}
        self._scores: dict[int, list[Floats]] = {}
        self._hits: dict[int, list[Bools]] = {}
        self._truths: dict[int, int] = {}

    def add(
        self,
        boxes_xyxy: NDArray[np.floating],
        scores: NDArray[np.floating],
        class_ids: NDArray[np.integer],
        truth_xyxy: NDArray[np.floating],
        truth_ids: NDArray[np.integer],
    ) -> None:
        """Match the detections of one picture.

        Detections whose score or box is not finite are dropped: they can hit nothing.

        Args:
            boxes_xyxy: `(D, 4)` detections in pixels.
            scores: `(D,)`.
            class_ids: `(D,)`.
            truth_xyxy: `(G, 4)` true boxes in the same pixels.
            truth_ids: `(G,)`.
        """
        good = np.isfinite(boxes_xyxy).all(axis=1)
        boxes, scores, class_ids = boxes_xyxy[good], scores[good], class_ids[good]

        def overlap(ours: Ints, theirs: Ints) -> Floats:
            return iou_matrix(boxes[ours], truth_xyxy[theirs])

        self.add_overlaps(scores, class_ids, truth_ids, overlap)

    def add_overlaps(
        self,
        scores: NDArray[np.floating],
        class_ids: NDArray[np.integer],
        truth_ids: NDArray[np.integer],
        overlap: Overlap,
        ignored: Bools | None = None,
    ) -> None:
        """Match the objects of one picture, whatever makes them alike.

        Args:
            scores: `(D,)` of the objects found; those that are not finite are dropped.
            class_ids: `(D,)`.
            truth_ids: `(G,)` classes of the true objects.
            overlap: positions of some found and some true objects to how alike they are,
                `(d, g)` in [0, 1].
            ignored: `(G,)` true objects that need not be found, and that an object may be taken
                for without harm.
        """
        skipped = np.zeros(len(truth_ids), bool) if ignored is None else ignored
        finite = np.isfinite(scores)
        for class_id in np.union1d(class_ids[finite], truth_ids).tolist():
            mine = np.flatnonzero((class_ids == class_id) & finite)
            order = mine[np.argsort(-scores[mine], kind="stable")][: self._limit]
            theirs = np.flatnonzero((truth_ids == class_id) & ~skipped)
            others = np.flatnonzero((truth_ids == class_id) & skipped)
            hits = match(overlap(order, theirs))
            self._scores.setdefault(class_id, []).append(np.asarray(scores[order], np.float64))
            self._hits.setdefault(class_id, []).append(hits)
            harmless = np.zeros_like(hits)
            if len(others):
                harmless = _harmless(overlap(order, others), hits)
            self._harmless.setdefault(class_id, []).append(harmless)
            self._truths[class_id] = self._truths.get(class_id, 0) + len(theirs)

    def result(self) -> DetectionScores:
        """The figures over everything that was added."""
        precisions: dict[int, Floats] = {}
        shown = right = 0
        for class_id, total in self._truths.items():
            scores = np.concatenate(self._scores[class_id])
            hits = np.concatenate(self._hits[class_id], axis=1)
            harmless = np.concatenate(self._harmless[class_id], axis=1)
            operating = (scores >= self._score_threshold) & ~harmless[0]
            shown += int(operating.sum())
            right += int(hits[0, operating].sum())
            if total:
                precisions[class_id] = average_precision(scores, hits, total, harmless)
        table = np.array([precisions[class_id] for class_id in sorted(precisions)])
        truths = sum(self._truths.values())
        return DetectionScores(
            map50=float(table[:, 0].mean()) if len(table) else math.nan,
            map50_95=float(table.mean()) if len(table) else math.nan,
            precision=right / shown if shown else math.nan,
            recall=right / truths if truths else math.nan,
            per_class={class_id: float(precisions[class_id][0]) for class_id in sorted(precisions)},
        )


def _harmless(overlaps: Floats, hits: Bools) -> Bools:
    """Which objects that found nothing are taken for a true one that does not count, `(T, D)`."""
    found = np.zeros_like(hits)
    for row, threshold in enumerate(IOU_THRESHOLDS):
        rest = np.flatnonzero(~hits[row])
        found[row, rest] = match(overlaps[rest], np.array([threshold]))[0]
    return found


def average_precision(
    scores: Floats, hits: Bools, total: int, harmless: Bools | None = None
) -> Floats:
    """Area under the precision-recall curve of one class, read at 101 recalls.

    Args:
        scores: `(D,)` over all pictures.
        hits: `(T, D)` whether each is right at each IoU threshold.
        total: number of true boxes, at least 1.
        harmless: `(T, D)` whether each counts neither as right nor as wrong.

    Returns:
        `(T,)` average precision.
    """
    order = np.argsort(-scores, kind="stable")
    right = hits[:, order].cumsum(axis=1)
    recall = right / total
    shown = np.ones_like(hits) if harmless is None else ~harmless[:, order]
    precision = right / np.maximum(1, shown.cumsum(axis=1))
    # Precision at a recall is the best that any higher recall still reaches.
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # One column of zeros stands for the recalls that are never reached.
    padded = np.pad(precision, ((0, 0), (0, 1)))
    at = np.stack([np.searchsorted(row, RECALLS, side="left") for row in recall])
    return np.asarray(np.take_along_axis(padded, at, axis=1).mean(axis=1))
