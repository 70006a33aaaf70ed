"""How much of a metric was lost: always as a share of what there was."""

from __future__ import annotations

import math

# Metrics that count errors.
_LOWER_IS_BETTER = frozenset(("cer", "wer", "mae", "mse", "rmse"))


def lower_is_better(name: str) -> bool:
    """Whether a metric counts errors."""
    return name.lower() in _LOWER_IS_BETTER


def loss(before: float, after: float, name: str = "") -> float:
    """What was lost, as a share of what there was; below 0 where something was gained.

    0.80 that became 0.79 lost 1.25%. For a metric that counts errors the answers that were right
    count: an error rate of 5% that became 6% lost 1.05%.
    """
    if lower_is_better(name):
        before, after = 1 - before, 1 - after
    if math.isnan(before) or math.isnan(after):
        return math.nan
    return (before - after) / before if before > 0 else math.nan


def fall_text(before: float, after: float, lost: float) -> str:
    """``from 0.9000 to 0.8900, by 1.11% of what it was``, with the digits that show it."""
    digits = 4
    while digits < 9 and before != after and f"{before:.{digits}f}" == f"{after:.{digits}f}":
        digits += 1
    share = f"{lost:.2%}" if not 0 < lost < 5e-5 else f"{lost * 100:.1g}%"
    return f"from {before:.{digits}f} to {after:.{digits}f}, by {share} of what it was"
