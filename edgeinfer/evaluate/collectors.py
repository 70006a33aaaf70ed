"""From answers and truths, sample by sample, to the figures of a task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgeinfer.datasets import (
    IGNORED,
    AnomalyTruth,
    BoxTruth,
    ClassTruth,
    MapTruth,
    MaskTruth,
    OrientedTruth,
    PoseTruth,
    Sample,
    TextTruth,
    ValueTruth,
)
from edgeinfer.errors import SpecError
from edgeinfer.metrics import (
    MAX_POSES,
    AnomalyMetric,
    ClassificationMetric,
    DetectionMetric,
    RegressionMetric,
    SegmentationMetric,
    TextMetric,
    mask_iou,
    oks_matrix,
    polygon_iou,
)
from edgeinfer.results import (
    Anomaly,
    Classes,
    ClassMap,
    Detections,
    Oriented,
    Payload,
    Poses,
    Result,
    Segments,
    Tensors,
    TextLines,
)
from edgeinfer.spec import ModelSpec

# What Ultralytics' and most papers' validation runs use.
SCORE_FLOOR = 0.001

ToModel = NDArray[np.int64] | None
Figures = tuple[dict[str, float], dict[str, float]]


class Collector(Protocol):
    """Made anew for each evaluation."""

    def add(self, result: Result[Payload], sample: Sample) -> None: ...

    def figures(self, labels: Sequence[str]) -> Figures:
        """The metrics, the headline first, and figures by class."""
        ...

    def notes(self, spec: ModelSpec) -> tuple[str, ...]: ...


def _mapped(ids: NDArray[np.int64], to_model: ToModel) -> NDArray[np.int64]:
    return ids if to_model is None else to_model[ids]


def _named(values: Mapping[int, float], labels: Sequence[str]) -> dict[str, float]:
    names = dict(enumerate(labels))
    return {names.get(key, str(key)): value for key, value in values.items()}


def _found(metric: DetectionMetric, labels: Sequence[str]) -> Figures:
    scores = metric.result()
    return {
        "map50": scores.map50,
        "map50_95": scores.map50_95,
        "precision": scores.precision,
        "recall": scores.recall,
    }, _named(scores.per_class, labels)


class _Objects:
    """What tasks of boxes with scores share.

    Args:
        to_model: the model's class for each class of the data, None where they are the same.
        operating_score: threshold at which precision and recall are stated.
    """

    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        self._to_model = to_model
        self._boxes = DetectionMetric(operating_score)
        self._shapes = DetectionMetric(operating_score)

    def notes(self, spec: ModelSpec) -> tuple[str, ...]:
        floor = spec.thresholds.get("score", math.nan)
        if floor <= 0.01 or math.isnan(floor):
            return ()
        return (
            f"the model showed only detections with a score of {floor:g} or more, so its average "
            f"precision is understated; load it with a score threshold of {SCORE_FLOOR:g}",
        )


class _Detect(_Objects):
    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, (Detections, Poses)) and isinstance(truth, BoxTruth)
        ids = _mapped(truth.class_ids, self._to_model)
        self._boxes.add(value.boxes_xyxy, value.scores, value.class_ids, truth.boxes_xyxy, ids)

    def figures(self, labels: Sequence[str]) -> Figures:
        return _found(self._boxes, labels)


class _Segment(_Objects):
    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Segments) and isinstance(truth, MaskTruth)
        ids = _mapped(truth.class_ids, self._to_model)
        ours, theirs = value.masks, truth.masks

        def overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
            return mask_iou([ours[i] for i in a], [theirs[i] for i in b])

        self._shapes.add_overlaps(value.scores, value.class_ids, ids, overlap)
        around = np.array([_box_of(mask.whole()) for mask in theirs], np.float64).reshape(-1, 4)
        self._boxes.add(value.boxes_xyxy, value.scores, value.class_ids, around, ids)

    def figures(self, labels: Sequence[str]) -> Figures:
        masks, boxes = self._shapes.result(), self._boxes.result()
        return {
            "map50": masks.map50,
            "map50_95": masks.map50_95,
            "box_map50": boxes.map50,
            "box_map50_95": boxes.map50_95,
            "precision": masks.precision,
            "recall": masks.recall,
        }, _named(masks.per_class, labels)


def _box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0.0, 0.0, 0.0, 0.0
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


class _Pose(_Objects):
    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        super().__init__(to_model, operating_score)
        self._shapes = DetectionMetric(operating_score, MAX_POSES)

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Poses) and isinstance(truth, PoseTruth)
        ids = _mapped(truth.class_ids, self._to_model)
        have, want = value.keypoints_xys.shape[1], truth.keypoints_xyv.shape[1]
        if len(value) and have != want:
            raise SpecError(
                f"The model finds {have} keypoints, the labels of {sample.name} have {want}: give "
                f"data with its keypoints."
            )

        def overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
            if not len(a):
                return np.zeros((0, len(b)))
            points = value.keypoints_xys[a, :, :2]
            return oks_matrix(points, truth.keypoints_xyv[b], truth.boxes_xyxy[b])

        unlabelled = np.asarray((truth.keypoints_xyv[:, :, 2] <= 0).all(axis=1))
        self._shapes.add_overlaps(value.scores, value.class_ids, ids, overlap, unlabelled)
        self._boxes.add(value.boxes_xyxy, value.scores, value.class_ids, truth.boxes_xyxy, ids)

    def figures(self, labels: Sequence[str]) -> Figures:
        poses, boxes = self._shapes.result(), self._boxes.result()
        return {
            "oks_map": poses.map50_95,
            "oks_map50": poses.map50,
            "map50": boxes.map50,
            "map50_95": boxes.map50_95,
            "precision": poses.precision,
            "recall": poses.recall,
        }, _named(poses.per_class, labels)


class _Oriented(_Objects):
    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Oriented) and isinstance(truth, OrientedTruth)
        ids = _mapped(truth.class_ids, self._to_model)

        def overlap(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
            return polygon_iou(value.polygons_xy[a], truth.polygons_xy[b])

        self._shapes.add_overlaps(value.scores, value.class_ids, ids, overlap)

    def figures(self, labels: Sequence[str]) -> Figures:
        return _found(self._shapes, labels)


class _Plain:
    """Tasks without a threshold that hides answers."""

    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        self._to_model = to_model

    def notes(self, spec: ModelSpec) -> tuple[str, ...]:
        return ()


class _Classify(_Plain):
    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        super().__init__(to_model, operating_score)
        self._metric = ClassificationMetric()

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Classes) and isinstance(truth, ClassTruth)
        right = truth.class_id if self._to_model is None else int(self._to_model[truth.class_id])
        self._metric.add(value.class_ids, value.scores, right)

    def figures(self, labels: Sequence[str]) -> Figures:
        scores = self._metric.result()
        return {"top1": scores.top1, "top5": scores.top5}, {}


class _Semantic(_Plain):
    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        super().__init__(to_model, operating_score)
        self._metric = SegmentationMetric(IGNORED)

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, ClassMap) and isinstance(truth, MapTruth)
        right = truth.class_ids.astype(np.int64)
        if self._to_model is not None:
            table = np.full(1 + max(IGNORED, len(self._to_model), int(right.max())), IGNORED)
            table[: len(self._to_model)] = self._to_model
            right = table[right]
        if value.class_ids.shape != right.shape:
            raise SpecError(
                f"The model's map of {sample.name} is {list(value.class_ids.shape)}, the truth "
                f"{list(right.shape)}: they must be alike."
            )
        self._metric.add(value.class_ids, right)

    def figures(self, labels: Sequence[str]) -> Figures:
        scores = self._metric.result()
        figures = {"miou": scores.miou, "pixel_accuracy": scores.pixel_accuracy}
        return figures, _named(scores.per_class, labels)


class _Text(_Plain):
    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        super().__init__(to_model, operating_score)
        self._metric = TextMetric()

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, TextLines) and isinstance(truth, TextTruth)
        self._metric.add(" ".join(value.texts), truth.text)

    def figures(self, labels: Sequence[str]) -> Figures:
        scores = self._metric.result()
        figures = {"char_accuracy": scores.char_accuracy, "cer": scores.cer, "exact": scores.exact}
        return figures, {}


class _Anomaly(_Plain):
    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        super().__init__(to_model, operating_score)
        self._metric = AnomalyMetric()

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Anomaly) and isinstance(truth, AnomalyTruth)
        self._metric.add(value.score, truth.is_anomaly)

    def figures(self, labels: Sequence[str]) -> Figures:
        scores = self._metric.result()
        return {"auroc": scores.auroc, "ap": scores.ap}, {}


class _Values(_Plain):
    def __init__(self, to_model: ToModel, operating_score: float) -> None:
        super().__init__(to_model, operating_score)
        self._metric = RegressionMetric()

    def add(self, result: Result[Payload], sample: Sample) -> None:
        value, truth = result.value, sample.truth
        assert isinstance(value, Tensors) and isinstance(truth, ValueTruth)
        parts = [array.astype(np.float64).ravel() for array in value.outputs.values()]
        said = np.concatenate(parts)
        if said.shape != truth.values.shape:
            raise SpecError(
                f"The model estimates {len(said)} values, the truth of {sample.name} has "
                f"{len(truth.values)}: give data with one true value for each."
            )
        self._metric.add(said, truth.values)

    def figures(self, labels: Sequence[str]) -> Figures:
        scores = self._metric.result()
        return {"r2": scores.r2, "mae": scores.mae, "rmse": scores.rmse}, {}


COLLECTORS: Mapping[str, Callable[[ToModel, float], Collector]] = MappingProxyType(
    {
        "detect": _Detect,
        "classify": _Classify,
        "segment": _Segment,
        "semantic": _Semantic,
        "pose": _Pose,
        "obb": _Oriented,
        "text-recognize": _Text,
        "anomaly": _Anomaly,
        "tensor": _Values,
    }
)
# The figure that stands for a task: larger is better.
HEADLINES: Mapping[str, str] = MappingProxyType(
    {
        "detect": "map50_95",
        "classify": "top1",
        "segment": "map50_95",
        "semantic": "miou",
        "pose": "oks_map",
        "obb": "map50_95",
        "text-recognize": "char_accuracy",
        "anomaly": "auroc",
        "tensor": "r2",
    }
)
