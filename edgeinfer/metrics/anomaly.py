"""How well scores tell the unusual from the normal."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass


@dataclass(frozen=True)
class AnomalyScores:
    """NaN where only one kind was added.

    Attributes:
        auroc: chance that an anomaly scores higher than a normal sample, ties counting a half.
        ap: average precision: mean precision over the anomalies, at the score of each.
    """

    auroc: float
    ap: float


class AnomalyMetric:
    """Collects samples one by one; a score that is none counts as the lowest."""

    def __init__(self) -> None:
        self._scores: list[float] = []
        self._truths: list[bool] = []

    def add(self, score: float, is_anomaly: bool) -> None:
        """Count one sample."""
        self._scores.append(-math.inf if math.isnan(score) else score)
        self._truths.append(is_anomaly)

    def result(self) -> AnomalyScores:
        """The figures over everything that was added."""
        scores, odd = np.array(self._scores), np.array(self._truths, bool)
        if not odd.any() or odd.all():
            return AnomalyScores(math.nan, math.nan)
        return AnomalyScores(auroc(scores, odd), average_precision(scores, odd))


def auroc(scores: NDArray[np.float64], odd: NDArray[np.bool_]) -> float:
    """Area under the receiver operating characteristic, by ranks (Mann and Whitney 1947)."""
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ends = counts.cumsum()
    ranks = (ends - (counts - 1) / 2)[place]
    positive = int(odd.sum())
    negative = len(odd) - positive
    return float((ranks[odd].sum() - positive * (positive + 1) / 2) / (positive * negative))


def average_precision(scores: NDArray[np.float64], odd: NDArray[np.bool_]) -> float:
    """Area under the precision-recall steps; equal scores are one step."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
    right = odd[order].cumsum()[last]
    precision = right / (last + 1)
    gained = np.diff(right, prepend=0)
    return float((precision * gained).sum() / odd.sum())
