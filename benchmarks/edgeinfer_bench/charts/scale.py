"""Where a value lies on an axis, and which ticks the axis shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

# A linear axis shows a value ten times smaller than another as a line along its edge.
_LOG_FROM = 10.0


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`.

    Attributes:
        log: whether equal ratios, not equal differences, lie equally far apart.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if self.high <= self.low or (self.log and self.low <= 0):
            raise ValueError(f"no axis from {self.low} to {self.high}")

    def at(self, value: float) -> float:
        """Position from 0 (low) to 1 (high)."""
        if self.log:
            value = max(value, self.low)
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values to write at the axis: three to six."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def latency_scale(smallest: float, typical: float, largest: float, *, from_zero: bool) -> Scale:
    """The axis for latencies of one page.

    Args:
        smallest: smallest sample of all series.
        typical: the smallest median of all series.
        largest: largest sample of all series; nothing is cut off.
        from_zero: whether a linear axis starts at 0.
    """
    smallest = max(smallest, 1.0)
    largest = max(largest, smallest * 1.02)
    if largest / max(typical, 1.0) > _LOG_FROM:
        return Scale(smallest / 1.1, largest * 1.1, log=True)
    if from_zero:
        return Scale(0.0, largest * 1.05)
    margin = (largest - smallest) * 0.03
    return Scale(smallest - margin, largest + margin)


def _linear_ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 6
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = [f * 10.0**decade for decade in decades for f in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= 6:
            break
    # An axis inside one step of the list still says where it lies.
    return inside if len(inside) >= 2 else _linear_ticks(low, high)
