"""How often the right class is the best answer, and among the best five."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass


@dataclass(frozen=True)
class ClassificationScores:
    """Shares in [0, 1]; NaN where no picture was added."""

    top1: float
    top5: float


class ClassificationMetric:
    """Collects pictures one by one."""

    def __init__(self) -> None:
        self._count = self._first = self._fifth = 0

    def add(
        self, class_ids: NDArray[np.integer], scores: NDArray[np.floating], truth_id: int
    ) -> None:
        """Count one picture; classes whose score is not finite are no answer.

        Args:
            class_ids: `(K,)` classes, best first.
            scores: `(K,)`.
            truth_id: the right class.
        """
        best = class_ids[np.isfinite(scores)][:5]
        self._count += 1
        self._first += int(truth_id in best[:1])
        self._fifth += int(truth_id in best)

    def result(self) -> ClassificationScores:
        """The shares over everything that was added."""
        if not self._count:
            return ClassificationScores(math.nan, math.nan)
        return ClassificationScores(self._first / self._count, self._fifth / self._count)
