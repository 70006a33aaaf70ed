"""How far estimated numbers are from the true ones."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass


@dataclass(frozen=True)
class RegressionScores:
    """NaN where nothing was added, or an estimate is no number.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error.
        r2: share of the truth's variance that is explained, over all values alike; NaN where
            the truth does not vary.
    """

    mae: float
    rmse: float
    r2: float


class RegressionMetric:
    """Collects samples one by one."""

    def __init__(self) -> None:
        self._said: list[NDArray[np.float64]] = []
        self._truth: list[NDArray[np.float64]] = []

    def add(self, said: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
        """Count one sample: `(V,)` estimates and as many true values."""
        self._said.append(said)
        self._truth.append(truth)

    def result(self) -> RegressionScores:
        """The figures over everything that was added."""
        if not self._said:
            return RegressionScores(math.nan, math.nan, math.nan)
        said, truth = np.stack(self._said), np.stack(self._truth)
        error = said - truth
        spread = float(((truth - truth.mean(axis=0)) ** 2).sum())
        squared = float((error**2).sum())
        r2 = 1 - squared / spread if spread > 0 else math.nan
        return RegressionScores(float(np.abs(error).mean()), math.sqrt(squared / error.size), r2)
