"""What users waited for over the run, one process after the other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeinfer_bench.charts.axes import limit_ns, time_ticks
from edgeinfer_bench.charts.frame import (
    Label,
    Tick,
    area,
    level,
    line,
    number,
    plot,
    rules,
    series,
    span,
)
from edgeinfer_bench.charts.scale import Scale
from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.result import BenchResult

# Up to so many frames each is drawn; more are drawn as columns, more of which no screen shows.
_EACH = 2000
_COLUMNS = 500
# Marks nearer to each other than this share of the width are one mark on any screen.
_MARKS = 1000
# Drops stand at the foot of the plot, where an axis from zero has nothing else.
_MARK_HEIGHT = 0.08

Spans = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Stretch:
    """Where a process lies on the axis of time, in nanoseconds."""

    replicate: Replicate
    start: int
    width: int


def timeline(result: BenchResult, y: Scale, throttled: Spans = (), index: int = 0) -> str:
    """Latency or age over time, drops, throttled spans and the deadline.

    Up to 2000 frames are drawn one by one; more are drawn as a line of medians in a band from the
    smallest to the largest of each column, so that no spike is lost.

    Args:
        y: the axis of what users waited for, in nanoseconds.
        throttled: spans from-to in nanoseconds of the monotonic clock.
        index: which of the page's colours.
    """
    stretches = laid_out(result)
    x = Scale(0, stretches[-1].start + stretches[-1].width)
    shapes = [
        span(x.at(left), max(x.at(right), x.at(left) + 0.002), "throttled")
        for left, right in throttled_at(stretches, throttled)
    ]
    shapes.append(rules([x.at(each.start) for each in stretches[1:]], "border"))
    limit = limit_ns(result)
    shown = limit is not None and y.low < limit <= y.high
    if limit is not None and shown:
        shapes.append(level(y.at(limit), "limit"))
    for each in stretches:
        shapes += _samples(each, result, x, y, index)
    drops = drops_at(stretches)
    if drops:
        places = sorted({round(x.at(at) * _MARKS) / _MARKS for at in drops})
        shapes.append(rules(places, "drop", 0, _MARK_HEIGHT))
    labels = [Label(1, y.at(limit), _limit_text(result, limit), "limit")] if limit and shown else []
    return plot(
        shapes,
        x_ticks=[Tick(x.at(tick), number(tick / 1e9)) for tick in x.ticks()],
        y_ticks=time_ticks(y),
        x_title="",
        y_title=f"{result.headline}, ms" + (", log scale" if y.log else ""),
        describe=f"{result.headline} of {result.label} over time, {len(drops)} frames dropped",
        labels=labels,
    )


def _limit_text(result: BenchResult, limit: int) -> str:
    return f"{'deadline' if 'deadline_ns' in result.arrival else 'target'} {limit / 1e6:.4g} ms"


def laid_out(result: BenchResult) -> list[Stretch]:
    """The processes of a result one after the other, without what lay between them."""
    stretches = []
    start = 0
    for replicate in result.replicates:
        ends = [replicate.elapsed_ns, 1]
        for name in ("at", "drops"):
            values = replicate.drops_at_ns if name == "drops" else replicate.column("at")
            ends.append(max(values, default=0))
        stretches.append(Stretch(replicate, start, max(ends)))
        start += stretches[-1].width
    return stretches


def throttled_at(stretches: Sequence[Stretch], throttled: Spans) -> list[tuple[int, int]]:
    """Spans of the box's clock on the axis of time; what lies between processes is not on it."""
    found = []
    for each in stretches:
        began = each.replicate.began_ns
        for from_ns, to_ns in throttled:
            left, right = max(0, from_ns - began), min(each.width, to_ns - began)
            if left < right:
                found.append((each.start + left, each.start + right))
    return found


def drops_at(stretches: Sequence[Stretch]) -> list[int]:
    """When each dropped frame was dropped, on the axis of time."""
    return [each.start + at for each in stretches for at in each.replicate.drops_at_ns]


def _samples(stretch: Stretch, result: BenchResult, x: Scale, y: Scale, index: int) -> list[str]:
    columns = stretch.replicate.samples_ns
    values = np.asarray(columns[result.headline], np.int64)
    when = np.asarray(columns["at"], np.int64) + stretch.start
    # Frames that several streams or sessions worked on at once end out of order.
    order = np.argsort(when, kind="stable")
    values, when = values[order], when[order]
    if not len(values):
        return []
    if result.frames <= _EACH:
        return [line(_points(when, values, x, y), f"line {series(index)}")]
    share = len(values) / result.frames
    middles, lows, medians, highs = envelope(values, max(2, round(_COLUMNS * share)))
    across = when[np.asarray(middles, np.float64).round().astype(np.int64)]
    upper = _points(across, highs, x, y)
    lower = _points(across, lows, x, y)
    return [
        area([*upper, *reversed(lower)], f"band {series(index)}"),
        line(_points(across, medians, x, y), f"line {series(index)}"),
    ]


def _points(
    when: NDArray[np.int64], values: Sequence[float] | NDArray[np.int64], x: Scale, y: Scale
) -> list[tuple[float, float]]:
    return [(x.at(float(at)), y.at(float(value))) for at, value in zip(when, values, strict=True)]


def envelope(
    values: NDArray[np.int64], columns: int
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Thin out a long series for drawing.

    Args:
        values: `(N,)`; fewer than `columns` become a column each.

    Returns:
        Middle position, minimum, median and maximum of each column.
    """
    edges = np.linspace(0, len(values), min(columns, len(values)) + 1).astype(np.int64)
    parts = [values[start:end] for start, end in itertools.pairwise(edges.tolist())]
    middles = (edges[:-1] + edges[1:] - 1) / 2
    return (
        middles.tolist(),
        [float(part.min()) for part in parts],
        [float(np.median(part)) for part in parts],
        [float(part.max()) for part in parts],
    )
