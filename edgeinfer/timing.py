"""Integer nanoseconds and what may be said about many of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter_ns
from types import MappingProxyType

now_ns = perf_counter_ns

STAGES = (
    "capture",
    "queue",
    "preprocess",
    "wait",
    "transfer_in",
    "inference",
    "transfer_out",
    "postprocess",
    "draw",
    "write",
)
# `wait` is for another frame's inference, where frames overlap; elsewhere there is none.
LATENCY_STAGES = (
    "preprocess",
    "wait",
    "transfer_in",
    "inference",
    "transfer_out",
    "postprocess",
)
QUANTILES: Mapping[str, float] = MappingProxyType(
    {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p999": 0.999}
)


def quantile(ordered: Sequence[int], q: float) -> int | None:
    """Quantile by nearest rank (Hyndman and Fan 1996, type 1): always a value that was measured.

    Args:
        ordered: samples in ascending order.
        q: between 0 and 1.

    Returns:
        None where n(1-q) < 10: too few samples lie beyond it to state it.
    """
    n = len(ordered)
    # The tolerance keeps 1000 * (1 - 0.99), which is 10 less a rounding error, a 10.
    if n * (1 - q) < 10 - 1e-9:
        return None
    return ordered[max(0, math.ceil(q * n - 1e-9) - 1)]


def summarize(samples_ns: Iterable[int]) -> dict[str, int | None]:
    """Count, mean, quantiles and maximum of durations in nanoseconds, nothing clipped."""
    ordered = sorted(samples_ns)
    if not ordered:
        return {"n": 0, "mean": None, **dict.fromkeys(QUANTILES), "max": None}
    return {
        "n": len(ordered),
        "mean": round(sum(ordered) / len(ordered)),
        **{name: quantile(ordered, q) for name, q in QUANTILES.items()},
        "max": ordered[-1],
    }


def typical(summary: Mapping[str, int | None]) -> int | None:
    """The median where it may be stated, else the mean: for texts that show one number."""
    p50 = summary["p50"]
    return p50 if p50 is not None else summary["mean"]


def format_ns(value_ns: float | None) -> str:
    """Milliseconds with three significant digits, for people: ``12.3 ms``."""
    if value_ns is None:
        return "-"
    ms = value_ns / 1e6
    if ms == 0:
        return "0 ms"
    digits = max(0, 2 - math.floor(math.log10(abs(ms))))
    return f"{ms:.{min(digits, 4)}f} ms"
