"""The axes that plots of one page share, so that results can be compared by eye."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer_bench.charts.frame import Tick, number
from edgeinfer_bench.charts.scale import Scale, latency_scale
from edgeinfer_bench.result import BenchResult

# A deadline further away than this would squeeze the samples to a line.
_NEAR = 3.0


def headline_samples(result: BenchResult) -> NDArray[np.int64]:
    """`(N,)` nanoseconds of what users wait for, in the order of the run."""
    return np.asarray(
        [value for value in result.samples_ns[result.headline] if value is not None], np.int64
    )


def limit_ns(result: BenchResult) -> int | None:
    """The age that a frame was not to pass: its deadline, or the target of the search."""
    found = result.arrival.get("deadline_ns") or result.arrival.get("target_ns")
    return None if found is None else int(found)


def shared_scale(results: Sequence[BenchResult], *, from_zero: bool) -> Scale:
    """The axis of what users wait for, for results that all have frames."""
    columns = [headline_samples(result) for result in results]
    largest = max(float(values.max()) for values in columns)
    limits = [limit for result in results if (limit := limit_ns(result)) is not None]
    near = [float(limit) for limit in limits if limit <= _NEAR * largest]
    return latency_scale(
        min(float(values.min()) for values in columns),
        min(float(np.median(values)) for values in columns),
        max([largest, *near]),
        from_zero=from_zero,
    )


def time_ticks(scale: Scale) -> list[Tick]:
    """Milliseconds along an axis of nanoseconds."""
    return [Tick(scale.at(tick), number(tick / 1e6)) for tick in scale.ticks()]


def quantity(results: Sequence[BenchResult]) -> str:
    """What the axis of these results shows."""
    names = {result.headline for result in results}
    return names.pop() if len(names) == 1 else "latency or age"


def title(name: str, scale: Scale) -> str:
    """An axis's name and unit."""
    return f"{name}, ms, log scale" if scale.log else f"{name}, ms"
