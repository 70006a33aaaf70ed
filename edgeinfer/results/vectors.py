"""One vector or one number for the whole frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass


@dataclass(frozen=True, eq=False)
class Embedding:
    """A vector that lies near those of similar frames.

    Attributes:
        vector: `(D,)` float32.
        flags: ``nonfinite`` where the graph gave numbers that are none.
    """

    vector: NDArray[np.float32]
    flags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"embedding": self.vector.tolist()}


@dataclass(frozen=True, eq=False)
class Anomaly:
    """How unusual the frame is.

    Attributes:
        score: larger is more unusual; its scale is the model's own.
        threshold: from which score on a frame is an anomaly; None where nobody said.
        score_map: `(h, w)` float32, where in the model's input it is unusual; None for models that
            do not tell.
        flags: ``nonfinite`` where the graph gave numbers that are none.
    """

    score: float
    threshold: float | None = None
    score_map: NDArray[np.float32] | None = None
    flags: tuple[str, ...] = ()

    @property
    def is_anomaly(self) -> bool | None:
        """Whether the score reaches the threshold; None where one of the two is no number."""
        if self.threshold is None or math.isnan(self.score):
            return None
        return self.score >= self.threshold

    def to_dict(self) -> dict[str, Any]:
        return {"anomaly_score": self.score, "is_anomaly": self.is_anomaly}
