"""Task metrics, one file each: numpy only, collected picture by picture."""

from __future__ import annotations

from edgeinfer.metrics.anomaly import AnomalyMetric, AnomalyScores
from edgeinfer.metrics.classification import ClassificationMetric, ClassificationScores
from edgeinfer.metrics.detection import DetectionMetric, DetectionScores, iou_matrix, match
from edgeinfer.metrics.keypoints import MAX_POSES, oks_matrix
from edgeinfer.metrics.masks import mask_iou, polygon_iou
from edgeinfer.metrics.regression import RegressionMetric, RegressionScores
from edgeinfer.metrics.segmentation import SegmentationMetric, SegmentationScores
from edgeinfer.metrics.text import TextMetric, TextScores, edit_distance

__all__ = [
    "MAX_POSES",
    "AnomalyMetric",
    "AnomalyScores",
    "ClassificationMetric",
    "ClassificationScores",
    "DetectionMetric",
    "DetectionScores",
    "RegressionMetric",
    "RegressionScores",
    "SegmentationMetric",
    "SegmentationScores",
    "TextMetric",
    "TextScores",
    "edit_distance",
    "iou_matrix",
    "mask_iou",
    "match",
    "oks_matrix",
    "polygon_iou",
]
