"""Metrics against numbers worked out by hand, and against a slow second implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeinfer.metrics import ClassificationMetric, DetectionMetric, iou_matrix, match

Floats = NDArray[np.float64]


def arrays(rows: list[tuple[float, ...]], width: int) -> Floats:
    return np.array(rows, np.float64).reshape(-1, width)


def add(
    metric: DetectionMetric,
    found: list[tuple[float, ...]],
    truth: list[tuple[float, ...]],
) -> None:
    """Detections as (class, score, x0, y0, x1, y1), true boxes as (class, x0, y0, x1, y1)."""
    d, g = arrays(found, 6), arrays(truth, 5)
    metric.add(d[:, 2:], d[:, 1], d[:, 0].astype(int), g[:, 1:], g[:, 0].astype(int))


def test_iou_of_boxes_worked_out_by_hand() -> None:
    a = arrays([(0, 0, 10, 10), (0, 0, 0, 0)], 4)
    b = arrays([(0, 0, 10, 10), (5, 0, 15, 10), (20, 20, 30, 30), (0, 0, 0, 0)], 4)
    np.testing.assert_allclose(iou_matrix(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


def test_a_perfect_detector_scores_one() -> None:
    metric = DetectionMetric()
    for _ in range(3):
        add(
            metric,
            [(0, 0.9, 0, 0, 10, 10), (1, 0.8, 5, 5, 9, 9)],
            [(0, 0, 0, 10, 10), (1, 5, 5, 9, 9)],
        )
    scores = metric.result()
    assert (scores.map50, scores.map50_95, scores.precision, scores.recall) == (1, 1, 1, 1)


def test_average_precision_worked_out_by_hand() -> None:
    # By score: right, wrong, right; two true boxes. Recall 1/2 at precision 1, recall 1 at 2/3:
    # 51 of the 101 recalls (0 to 0.50) read 1, the other 50 read 2/3.
    metric = DetectionMetric()
    add(
        metric,
        [(0, 0.9, 0, 0, 10, 10), (0, 0.8, 50, 50, 60, 60), (0, 0.7, 20, 0, 30, 10)],
        [(0, 0, 0, 10, 10), (0, 20, 0, 30, 10)],
    )
    scores = metric.result()
    assert scores.map50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert scores.map50_95 == pytest.approx(scores.map50)


def test_boxes_that_overlap_by_seven_tenths_count_up_to_that_threshold() -> None:
    # IoU 0.7: right at 0.50, 0.55, 0.60, 0.65, 0.70, wrong at the other five.
    metric = DetectionMetric()
    add(metric, [(0, 0.9, 0, 0, 10, 7)], [(0, 0, 0, 10, 10)])
    scores = metric.result()
    assert (scores.map50, scores.map50_95) == (1, pytest.approx(0.5))


def test_the_second_detection_of_one_object_is_wrong() -> None:
    metric = DetectionMetric()
    add(metric, [(0, 0.9, 0, 0, 10, 10), (0, 0.8, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)])
    scores = metric.result()
    assert (scores.map50, scores.precision, scores.recall) == (1, 0.5, 1)


def test_precision_and_recall_belong_to_the_operating_threshold() -> None:
    found = [(0, 0.9, 0, 0, 10, 10), (0, 0.4, 50, 50, 60, 60), (0, 0.2, 20, 0, 30, 10)]
    truth = [(0, 0, 0, 10, 10), (0, 20, 0, 30, 10)]
    for threshold, precision, recall in ((0.5, 1.0, 0.5), (0.3, 0.5, 0.5), (0.1, 2 / 3, 1.0)):
        metric = DetectionMetric(threshold)
        add(metric, found, truth)
        scores = metric.result()
        assert (scores.precision, scores.recall) == pytest.approx((precision, recall))


def test_a_class_without_true_boxes_costs_precision_only() -> None:
    metric = DetectionMetric()
    add(metric, [(0, 0.9, 0, 0, 10, 10), (7, 0.9, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)])
    scores = metric.result()
    assert (scores.map50, scores.precision, dict(scores.per_class)) == (1, 0.5, {0: 1.0})


def test_without_objects_there_is_no_figure_but_nan() -> None:
    metric = DetectionMetric()
    assert math.isnan(metric.result().map50)
    add(metric, [], [])
    assert math.isnan(metric.result().map50_95)
    add(metric, [(0, 0.9, 0, 0, 1, 1)], [])
    scores = metric.result()
    assert math.isnan(scores.map50) and math.isnan(scores.recall) and scores.precision == 0


def test_a_blind_detector_scores_zero_not_nan() -> None:
    metric = DetectionMetric()
    add(metric, [], [(0, 0, 0, 10, 10)])
    scores = metric.result()
    assert (scores.map50, scores.map50_95, scores.recall) == (0, 0, 0)
    assert math.isnan(scores.precision)


def test_detections_that_are_not_finite_are_no_detections() -> None:
    metric = DetectionMetric()
    bad = [(0, math.nan, 0, 0, 10, 10), (0, 0.99, math.inf, 0, 10, 10)]
    add(metric, [*bad, (0, 0.5, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)])
    assert metric.result().map50 == 1


def test_only_the_best_hundred_of_a_class_enter() -> None:
    wrong = [(0, 0.9, 100.0 + k, 100, 101.0 + k, 101) for k in range(100)]
    metric = DetectionMetric()
    add(metric, [*wrong, (0, 0.1, 0, 0, 10, 10)], [(0, 0, 0, 10, 10)])
    assert metric.result().map50 == 0


def slow_map(pictures: list[tuple[Floats, Floats]], threshold: float) -> float:
    """COCO's average precision in loops, written from the paper: no code shared."""
    classes = sorted({int(row[0]) for _, truth in pictures for row in truth})
    means = []
    for label in classes:
        verdicts: list[tuple[float, bool]] = []
        total = 0
        for found, truth in pictures:
            theirs = [row[1:] for row in truth if row[0] == label]
            total += len(theirs)
            taken = [False] * len(theirs)
            mine = sorted((row for row in found if row[0] == label), key=lambda row: -row[1])
            for row in mine[:100]:
                best, where = threshold, None
                for position, box in enumerate(theirs):
                    if not taken[position] and slow_iou(row[2:], box) >= best:
                        best, where = slow_iou(row[2:], box), position
                if where is not None:
                    taken[where] = True
                verdicts.append((row[1], where is not None))
        verdicts.sort(key=lambda pair: -pair[0])
        curve, right = [], 0
        for count, (_, good) in enumerate(verdicts, start=1):
            right += good
            curve.append((right / total, right / count))
        points = [
            max((p for r, p in curve if r >= level / 100 - 1e-12), default=0.0)
            for level in range(101)
        ]
        means.append(sum(points) / 101)
    return sum(means) / len(means)


def slow_iou(a: Floats, b: Floats) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    shared = w * h
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))


@pytest.mark.parametrize("seed", range(6))
def test_random_pictures_agree_with_the_slow_implementation(seed: int) -> None:
    random = np.random.default_rng(seed)
    metric = DetectionMetric()
    pictures = []
    for _ in range(12):
        count = int(random.integers(0, 7))
        corner = random.uniform(0, 80, (count, 2))
        truth = np.hstack(
            [random.integers(0, 3, (count, 1)), corner, corner + random.uniform(8, 40, (count, 2))]
        )
        copies = np.repeat(truth, 2, axis=0)
        shaken = copies[:, 1:] + random.normal(0, 3, (len(copies), 4))
        scores = random.uniform(size=(len(copies), 1))
        labels = np.where(random.uniform(size=scores.shape) < 0.8, copies[:, :1], 3)
        found = np.hstack([labels, scores, shaken])
        pictures.append((found, truth))
        metric.add(
            found[:, 2:],
            found[:, 1],
            found[:, 0].astype(int),
            truth[:, 1:],
            truth[:, 0].astype(int),
        )
    scores_found = metric.result()
    slow = [slow_map(pictures, 0.5 + 0.05 * step) for step in range(10)]
    assert scores_found.map50 == pytest.approx(slow[0], abs=1e-12)
    assert scores_found.map50_95 == pytest.approx(sum(slow) / 10, abs=1e-12)


def test_the_comparison_with_the_slow_implementation_can_fail() -> None:
    truth = arrays([(0, 0, 0, 10, 10), (0, 20, 0, 30, 10)], 5)
    found = arrays([(0, 0.9, 0, 0, 10, 10), (0, 0.8, 50, 0, 60, 10)], 6)
    metric = DetectionMetric()
    metric.add(
        found[:, 2:], -found[:, 1], found[:, 0].astype(int), truth[:, 1:], truth[:, 0].astype(int)
    )
    assert metric.result().map50 != pytest.approx(slow_map([(found, truth)], 0.5), abs=1e-3)


def test_a_detection_takes_the_free_box_that_it_overlaps_most() -> None:
    hits = match(np.array([[0.6, 0.9], [0.7, 0.95]]), np.array([0.5, 0.75]))
    assert hits.tolist() == [[True, True], [True, False]]


def test_top1_and_top5_worked_out_by_hand() -> None:
    metric = ClassificationMetric()
    scores = np.linspace(1, 0, 6)
    for truth in (3, 1, 4, 9):
        metric.add(np.array([3, 1, 0, 5, 4, 9]), scores, truth)
    assert (metric.result().top1, metric.result().top5) == (0.25, 0.75)


def test_scores_that_are_nan_are_no_answer() -> None:
    metric = ClassificationMetric()
    metric.add(np.array([3, 1]), np.array([math.nan, 0.5]), 3)
    assert (metric.result().top1, metric.result().top5) == (0, 0)
    assert math.isnan(ClassificationMetric().result().top1)
