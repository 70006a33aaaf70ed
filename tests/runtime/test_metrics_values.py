"""Metrics of text, anomalies and estimated numbers against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgeinfer.metrics import TextMetric, edit_distance
from edgeinfer.metrics.anomaly import AnomalyMetric
from edgeinfer.metrics.regression import RegressionMetric


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("flaw", "lawn", 2),
        ("same", "same", 0),
        ("ab", "ba", 2),
    ],
)
def test_letters_to_change_add_or_remove(one: str, other: str, distance: int) -> None:
    assert edit_distance(one, other) == distance


def test_letters_are_counted_over_all_lines() -> None:
    metric = TextMetric()
    metric.add("kitten", "sitting")
    metric.add("abc", "abc")
    found = metric.result()
    assert (found.cer, found.char_accuracy, found.exact) == (3 / 10, 7 / 10, 1 / 2)


def test_more_errors_than_letters_are_no_negative_accuracy() -> None:
    metric = TextMetric()
    metric.add("abcdef", "x")
    assert (metric.result().cer, metric.result().char_accuracy) == (6, 0)
    assert math.isnan(TextMetric().result().cer)


def anomalies(*pairs: tuple[float, bool]) -> AnomalyMetric:
    metric = AnomalyMetric()
    for score, odd in pairs:
        metric.add(score, odd)
    return metric


def test_auroc_is_the_chance_that_an_anomaly_scores_higher() -> None:
    found = anomalies((0.9, True), (0.5, True), (0.5, False), (0.1, False)).result()
    # Of four pairs three are right and one is a tie.
    assert found.auroc == 3.5 / 4
    # At 0.9: 1 of 1; at 0.5: 2 of 3. Each step finds one of two.
    assert found.ap == pytest.approx((1 + 2 / 3) / 2)


def test_auroc_agrees_with_counting_pairs() -> None:
    random = np.random.default_rng(6)
    for _ in range(20):
        scores, odd = random.integers(0, 8, 40), random.random(40) < 0.4
        metric = anomalies(*zip(scores.tolist(), odd.tolist(), strict=True))
        pairs = [
            1.0 if a > b else 0.5 if a == b else 0.0 for a in scores[odd] for b in scores[~odd]
        ]
        assert metric.result().auroc == pytest.approx(np.mean(pairs))


def test_a_score_that_is_no_number_counts_as_the_lowest() -> None:
    assert anomalies((math.nan, True), (-5, False)).result().auroc == 0


def test_one_kind_alone_has_no_auroc() -> None:
    assert math.isnan(anomalies((1, True), (2, True)).result().auroc)


def test_estimates_are_compared_value_by_value() -> None:
    metric = RegressionMetric()
    for said, truth in ((1.0, 2.0), (4.0, 4.0), (5.0, 6.0)):
        metric.add(np.array([said]), np.array([truth]))
    found = metric.result()
    # Truth 2, 4, 6 varies by 4 + 0 + 4; the errors are 1, 0, 1.
    assert found.mae == pytest.approx(2 / 3)
    assert found.rmse == pytest.approx(math.sqrt(2 / 3))
    assert found.r2 == pytest.approx(1 - 2 / 8)


def test_a_truth_that_does_not_vary_has_no_r2() -> None:
    metric = RegressionMetric()
    metric.add(np.array([1.0]), np.array([2.0]))
    assert math.isnan(metric.result().r2)
    assert math.isnan(RegressionMetric().result().mae)
