"""Frames back to back, one at a time; several models take turns in blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.order import Order
from edgeinfer_bench.scenarios.base import (
    SETTLE_NS,
    Part,
    Progress,
    block_of,
    left,
    rounds,
)

# One alone is asked this often how far it is.
_SLICE_NS = 500_000_000


class Single:
    """Closed loop of one."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        """Frames at the limit are divided into equal turns, so that everybody has as many."""
        alone = len(bouts) == 1
        block = None if alone else block_of(bouts, self._options)
        for order, _ in rounds(bouts, part, progress):
            for bout in order:
                bout.measure(self._order(bout, part, block))

    def _order(self, bout: Bout, part: Part, block: int | None) -> Order:
        rest = left(bout, part)
        if block is None:
            limit = _SLICE_NS
            if part.duration_ns is not None:
                limit = min(limit, max(1, part.duration_ns - bout.elapsed_ns))
            return Order(frames=rest, duration_ns=limit)
        frames = block if rest is None else min(block, rest)
        return Order(frames=frames, discard=1, settle_ns=SETTLE_NS)

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        return {}
