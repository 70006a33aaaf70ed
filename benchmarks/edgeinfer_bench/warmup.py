"""When has a freshly opened model settled?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

# Frames that are looked at together, and how much their medians may still differ.
_WINDOW = 5
_SAME = 0.05
# What has not settled by then drifts for another reason, and the report shows it.
MOST_FRAMES = 200
MOST_NS = 5_000_000_000
LEAST_FRAMES = 2 * _WINDOW
# A first part that is that much slower than the rest had not settled.
_DRIFT = 0.10
_PARTS = 5


def settled(latencies_ns: Sequence[int]) -> bool:
    """Whether the last five frames took as long as the five before them: within 5%."""
    if len(latencies_ns) < LEAST_FRAMES:
        return False
    before = median(latencies_ns[-2 * _WINDOW : -_WINDOW])
    return abs(median(latencies_ns[-_WINDOW:]) - before) <= _SAME * before


def still_warming(latencies_ns: Sequence[int]) -> float | None:
    """How much slower the first fifth of a measurement was than the rest, as a share; None where
    it was not: by less than a tenth, or there are too few frames to tell."""
    cut = len(latencies_ns) // _PARTS
    if cut < _WINDOW:
        return None
    slower = median(latencies_ns[:cut]) / max(1, median(latencies_ns[cut:])) - 1
    return slower if slower > _DRIFT else None
