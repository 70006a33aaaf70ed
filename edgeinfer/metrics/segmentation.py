"""How many pixels have the right class."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass


@dataclass(frozen=True)
class SegmentationScores:
    """Shares in [0, 1]; NaN where no labelled pixel was added.

    Attributes:
        miou: mean over classes of intersection over union, of the classes that occur in the truth
            or in an answer (Everingham et al. 2010, Pascal VOC).
        pixel_accuracy: share of labelled pixels with the right class.
        per_class: intersection over union by class id.
    """

    miou: float
    pixel_accuracy: float
    per_class: Mapping[int, float]


class SegmentationMetric:
    """Collects pictures one by one; counts pixels over all of them.

    Args:
        ignored: value of pixels in the truth that nobody labelled.
    """

    def __init__(self, ignored: int = 255) -> None:
        self._ignored = ignored
        self._counts = np.zeros((0, 0), np.int64)

    def add(self, class_ids: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count the pixels of one picture.

        Args:
            class_ids: `(H, W)` as answered.
            truth: `(H, W)`.
        """
        labelled = truth != self._ignored
        right, said = truth[labelled].astype(np.int64), class_ids[labelled].astype(np.int64)
        if not len(right):
            return
        count = max(len(self._counts), int(right.max()) + 1, int(said.max()) + 1)
        grown = np.zeros((count, count), np.int64)
        grown[: len(self._counts), : len(self._counts)] = self._counts
        grown += np.bincount(right * count + said, minlength=count * count).reshape(count, count)
        self._counts = grown

    def result(self) -> SegmentationScores:
        """The shares over everything that was added."""
        total = self._counts.sum()
        if not total:
            return SegmentationScores(math.nan, math.nan, {})
        right = self._counts.diagonal()
        union = self._counts.sum(axis=0) + self._counts.sum(axis=1) - right
        ious = {
            number: float(right[number] / union[number])
            for number in np.flatnonzero(union).tolist()
        }
        accuracy = float(right.sum() / total)
        return SegmentationScores(float(np.mean(list(ious.values()))), accuracy, ious)
