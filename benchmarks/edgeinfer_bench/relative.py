"""How much longer one model takes than another that ran in turns with it."""

from __future__ import annotations

from statistics import median

from edgeinfer.measure import Ratio, ratio
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult

# Below this many pairs of blocks an interval says nothing.
_MIN_BLOCKS = 5


def relative(base: BenchResult, new: BenchResult) -> Ratio | None:
    """Compare two results of one interleaved run, block by block.

    Returns:
        The median ratio of the blocks' median latencies; None where the two did not run in turns
        or have fewer than 5 full blocks.
    """
    if base.block is None or base.block != new.block:
        return None
    ours, theirs = _blocks(base), _blocks(new)
    count = min(len(ours), len(theirs))
    if count < _MIN_BLOCKS or min(*ours, *theirs) <= 0:
        return None
    return ratio(ours[:count], theirs[:count])


def _blocks(result: BenchResult) -> list[int]:
    latency = [value or 0 for value in result.samples_ns["latency"]]
    size = result.block or 1
    return [
        round(median(latency[start : start + size]))
        for start in range(0, len(latency) - size + 1, size)
    ]


def relatives(report: Report) -> tuple[Ratio | None, ...]:
    """Each result of a report against its first; None for the first and where it cannot be said."""
    first = report.results[0]
    return (None, *(relative(first, result) for result in report.results[1:]))
