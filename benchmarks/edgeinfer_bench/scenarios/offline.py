"""As many frames a second as the box can do, through the pipeline that `run` uses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.order import Order
from edgeinfer_bench.scenarios.base import Part, Progress, left, rounds, usual_ns

_TURN_NS = 1_000_000_000
# One alone is asked this often for what it has: it is then safe.
_SLICE_NS = 5_000_000_000


class Offline:
    """Throughput."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self.block: int | None = None

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        if len(bouts) > 1 and self.block is None:
            self.block = max(
                math.ceil(_TURN_NS * bout.know.lanes / max(1.0, usual_ns(bout))) for bout in bouts
            )
        for order in rounds(bouts, part, progress):
            for bout in order:
                rest = left(bout, part)
                if self.block is not None:
                    rest = self.block if rest is None else min(rest, self.block)
                limit = min(part.duration_ns or _SLICE_NS, _SLICE_NS)
                bout.measure(Order("offline", rest, limit))

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        return {"lanes": lanes}
