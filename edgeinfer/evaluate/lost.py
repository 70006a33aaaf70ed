"""How much of a metric was lost: always as a share of what there was."""

from __future__ import annotations

import math

# Shares of answers that are wrong.
_RATES = frozenset(("cer", "wer"))
# Errors in the unit of what is predicted, without a bound.
_DISTANCES = frozenset(("mae", "mse", "rmse"))


def lower_is_better(name: str) -> bool:
    """Whether a metric counts errors."""
    return name.lower() in _RATES | _DISTANCES


def loss(before: float, after: float, name: str = "") -> float:
    """What was lost, as a share of what there was; below 0 where something was gained.

    0.80 that became 0.79 lost 1.25%. Of a rate of errors the answers that were right count: 5% that
    became 6% lost 1.05%. An error of 2.00 degrees that became 2.02 lost 1%.
    """
    if math.isnan(before) or math.isnan(after):
        return math.nan
    if name.lower() in _DISTANCES:
        if before > 0:
            return (after - before) / before
        return math.inf if after > 0 else 0.0
    if name.lower() in _RATES:
        before, after = 1 - before, 1 - after
    return (before - after) / before if before > 0 else math.nan


def change_text(before: float, after: float, lost: float) -> str:
    """``fell from 0.9000 to 0.8900, by 1.11% of what it was``, with the digits that show it."""
    digits = 4
    while digits < 9 and before != after and f"{before:.{digits}f}" == f"{after:.{digits}f}":
        digits += 1
    share = f"{lost:.2%}" if not 0 < lost < 5e-5 else f"{lost * 100:.1g}%"
    verb = "rose" if after > before else "fell"
    return f"{verb} from {before:.{digits}f} to {after:.{digits}f}, by {share} of what it was"
