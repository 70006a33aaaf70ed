"""Latency of every frame in the order of the run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeinfer_bench.charts.frame import Tick, area, line, number, plot, series
from edgeinfer_bench.charts.scale import Scale

# Up to so many frames each is drawn; more are drawn as columns, more of which no screen shows.
_EACH = 2000
_COLUMNS = 500

Latencies = Mapping[str, NDArray[np.int64]]


def timeline(latencies_ns: Latencies, y: Scale) -> str:
    """Latency over frames.

    Up to 2000 frames are drawn one by one; more are drawn as a line of medians in a band from the
    smallest to the largest of each column, so that no spike is lost.

    Args:
        latencies_ns: `(N,)` int64 nanoseconds by label.
        y: the axis of latencies, in nanoseconds.
    """
    most = max(len(values) for values in latencies_ns.values())
    x = Scale(0, max(1, most - 1))
    shapes: list[str] = []
    for index, values in enumerate(latencies_ns.values()):
        shapes += _series(values, x, y, index)
    return plot(
        shapes,
        x_ticks=[Tick(x.at(tick), number(tick)) for tick in x.ticks() if tick == int(tick)],
        y_ticks=[Tick(y.at(tick), number(tick / 1e6)) for tick in y.ticks()],
        x_title="frame" if most <= _EACH else "frame; band: smallest to largest, line: median",
        y_title="ms, log scale" if y.log else "ms",
        describe="Latency of each frame in the order of the run: " + ", ".join(latencies_ns),
    )


def _series(values: NDArray[np.int64], x: Scale, y: Scale, index: int) -> list[str]:
    if len(values) <= _EACH:
        points = [(x.at(at), y.at(value)) for at, value in enumerate(values.tolist())]
        return [line(points, f"line {series(index)}")]
    middles, lows, medians, highs = envelope(values, _COLUMNS)
    across = [x.at(middle) for middle in middles]
    upper = [(at, y.at(value)) for at, value in zip(across, highs, strict=True)]
    lower = [(at, y.at(value)) for at, value in zip(across, lows, strict=True)]
    centre = [(at, y.at(value)) for at, value in zip(across, medians, strict=True)]
    return [
        area([*upper, *reversed(lower)], f"band {series(index)}"),
        line(centre, f"line {series(index)}"),
    ]


def envelope(
    values: NDArray[np.int64], columns: int
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Thin out a long series for drawing.

    Args:
        values: `(N,)`, N at least `columns`.

    Returns:
        Middle position, minimum, median and maximum of each column.
    """
    edges = np.linspace(0, len(values), columns + 1).astype(np.int64)
    parts = [values[start:end] for start, end in itertools.pairwise(edges.tolist())]
    middles = (edges[:-1] + edges[1:] - 1) / 2
    return (
        middles.tolist(),
        [float(part.min()) for part in parts],
        [float(np.median(part)) for part in parts],
        [float(part.max()) for part in parts],
    )
