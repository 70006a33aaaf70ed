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
        self.block: int | None = None

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        """Frames at the limit are divided into equal turns, so that everybody has as many."""
        if len(bouts) > 1 and self.block is None:
            self.block = block_of(bouts, self._options)
        for order in rounds(bouts, part, progress):
            for bout in order:
                bout.measure(self._order(bout, part))

    def _order(self, bout: Bout, part: Part) -> Order:
        rest, block = left(bout, part), self.block
        if block is None:
            limit = _SLICE_NS
            if part.duration_ns is not None:
                limit = min(limit, max(1, part.duration_ns - bout.elapsed_ns))
            return Order(frames=rest, duration_ns=limit)
        frames = block if rest is None else min(block, rest)
        return Order(frames=frames, discard=1, settle_ns=SETTLE_NS)

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        """One, however many were opened: the next frame waits for the answer to this one."""
        return {"lanes": 1}
