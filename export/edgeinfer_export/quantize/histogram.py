"""What was seen of one tensor, in memory that does not grow with what was seen."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeinfer.frames import Array

# Both sides of zero together. A range ends at a power of two, so at least a quarter of the bins
# is used by the side that is used.
BINS = 4096
# Extremes and means are exact; the shape of a distribution is known well enough from this many
# values of a tensor per sample.
_DRAWN = 1 << 16


@dataclass(eq=False)
class Histogram:
    """Counts over [-limit, limit], and exact extremes.

    Attributes:
        limit: a power of two; 0 while only zeros were seen.
        low, high: extremes of the finite values.
        counts: `(BINS,)` int64.
        nonfinite: how many values were infinite or NaN.
    """

    limit: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    nonfinite: int = 0

    def add(self, values: Array, turn: int, extremes: tuple[float, float] | None = None) -> None:
        """Add a tensor.

        Args:
            values: any shape, floating point.
            turn: number of the sample; it decides which of many values are drawn, so that every
                run draws the same.
            extremes: of the values, where they are known.
        """
        flat = np.ascontiguousarray(values).reshape(-1)
        if flat.size == 0:
            return
        low, high = extremes or (float(flat.min()), float(flat.max()))
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = flat[np.isfinite(flat)]
            self.nonfinite += flat.size - finite.size
            flat = finite
            if flat.size == 0:
                return
            low, high = float(flat.min()), float(flat.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._widen(max(-low, high, 0.0))
        step = -(-flat.size // _DRAWN)
        # An odd step does not always meet the same column of a picture.
        step += int(step > 1 and step % 2 == 0)
        drawn = flat[(turn % step) :: step].astype(np.float64)
        if self.limit == 0.0:
            self.counts[BINS // 2] += drawn.size
            return
        at = ((drawn + self.limit) * (BINS / (2 * self.limit))).astype(np.int64)
        self.counts += np.bincount(np.clip(at, 0, BINS - 1), minlength=BINS)

    def _widen(self, highest: float) -> None:
        """Make room for a value: each doubling joins neighbouring bins."""
        if highest <= self.limit:
            return
        wanted = 2.0 ** math.ceil(math.log2(highest))
        if self.limit == 0.0:
            self.limit = wanted
            return
        while self.limit < wanted:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : 3 * BINS // 4] = pairs
            self.limit *= 2

    @property
    def edges(self) -> NDArray[np.float64]:
        """`(BINS + 1,)`, borders of the bins."""
        return np.linspace(-self.limit, self.limit, BINS + 1)
