"""Task metrics, one file each: numpy only, collected picture by picture."""

from __future__ import annotations

from edgeinfer.metrics.classification import ClassificationMetric, ClassificationScores
from edgeinfer.metrics.detection import DetectionMetric, DetectionScores, iou_matrix, match

__all__ = [
    "ClassificationMetric",
    "ClassificationScores",
    "DetectionMetric",
    "DetectionScores",
    "iou_matrix",
    "match",
]
