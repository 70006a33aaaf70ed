"""How latencies are distributed: where most lie, and how bad the worst are."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeinfer_bench.charts.axes import time_ticks, title
from edgeinfer_bench.charts.frame import Tick, area, line, number, plot, series
from edgeinfer_bench.charts.scale import Scale

Latencies = Mapping[str, NDArray[np.int64]]

_MIN_BINS, _MAX_BINS = 24, 96
# More filled shapes over each other only make grey.
_FILLED = 3
# Points along a tail; ranks are thinned out evenly in their logarithm.
_TAIL_POINTS = 240
# As for quantiles: fewer frames than this beyond a point say little about it.
_SURE = 10


def histogram(latencies_ns: Latencies, x: Scale, name: str = "latency") -> str:
    """Share of frames by latency, the same bins for all series.

    Args:
        latencies_ns: `(N,)` int64 nanoseconds by label.
        x: the axis of latencies, in nanoseconds.
        name: what the values are.
    """
    bins = _bins(latencies_ns, x)
    edges = np.array([_value_at(x, index / bins) for index in range(bins + 1)])
    shares = [_shares(values, edges) for values in latencies_ns.values()]
    y = Scale(0, max(float(share.max()) for share in shares) * 1.08)
    shapes: list[str] = []
    for index, share in enumerate(shares):
        steps = [(0.0, 0.0)]
        for at, value in enumerate(share.tolist()):
            steps += [(at / bins, y.at(value)), ((at + 1) / bins, y.at(value))]
        steps.append((1.0, 0.0))
        if len(shares) <= _FILLED:
            shapes.append(area(steps, f"fill {series(index)}"))
        shapes.append(line(steps, f"line thin {series(index)}"))
    return plot(
        shapes,
        x_ticks=time_ticks(x),
        y_ticks=[Tick(y.at(tick), f"{number(tick * 100)}%") for tick in y.ticks()],
        x_title=title(name, x),
        y_title="share of frames",
        describe=f"Histogram of the {name}: " + ", ".join(latencies_ns),
    )


def tail(latencies_ns: Latencies, x: Scale, name: str = "latency") -> str:
    """Share of frames that took longer than a latency, on a logarithmic axis.

    The last ten frames of a series are dotted: what lies there is chance.
    """
    most = max(len(values) for values in latencies_ns.values())
    y = Scale(1 / max(2, most), 1.0, log=True)
    shapes: list[str] = []
    for index, values in enumerate(latencies_ns.values()):
        sure, unsure = _tail_points(np.sort(values), x, y)
        shapes.append(line(sure, f"line {series(index)}"))
        if len(unsure) > 1:
            shapes.append(line(unsure, f"line dotted {series(index)}"))
    powers = range(math.ceil(math.log10(max(2, most))))
    return plot(
        shapes,
        x_ticks=time_ticks(x),
        y_ticks=[
            Tick(y.at(10.0**-power), f"{number(100 * 10.0**-power)}%")
            for power in powers
            if 10.0**-power >= y.low
        ],
        x_title=title(name, x),
        y_title="frames that took longer",
        describe=f"Share of frames beyond a {name}: " + ", ".join(latencies_ns),
    )


def _bins(latencies_ns: Latencies, x: Scale) -> int:
    """Freedman and Diaconis 1981: bins as wide as 2 IQR / n^(1/3), the finest of the series."""
    widths = []
    for values in latencies_ns.values():
        low, high = (x.at(float(edge)) for edge in np.quantile(values, [0.25, 0.75]))
        widths.append(2 * (high - low) / len(values) ** (1 / 3))
    finest = min((width for width in widths if width > 0), default=1 / _MAX_BINS)
    return min(_MAX_BINS, max(_MIN_BINS, round(1 / finest)))


def _value_at(x: Scale, position: float) -> float:
    if x.log:
        return float(x.low * (x.high / x.low) ** position)
    return x.low + (x.high - x.low) * position


def _shares(values: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    counts, _ = np.histogram(values, edges)
    return np.asarray(counts / len(values), np.float64)


def _tail_points(
    ordered: NDArray[np.int64], x: Scale, y: Scale
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Points of the part with ten frames or more beyond, and of the part after it."""
    count = len(ordered)
    beyond = np.unique(np.geomspace(1, count, _TAIL_POINTS).round().astype(np.int64))[::-1]
    points = [(x.at(float(ordered[count - left])), y.at(left / count)) for left in beyond.tolist()]
    cut = int(np.searchsorted(-beyond, -_SURE, side="right"))
    return points[:cut] or points[:1], points[max(0, cut - 1) :]
