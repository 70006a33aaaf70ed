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


class Offline:
    """Throughput."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        alone = len(bouts) == 1
        frames = max(
            math.ceil(_TURN_NS * bout.know.lanes / max(1.0, usual_ns(bout))) for bout in bouts
        )
        for order, _ in rounds(bouts, part, progress):
            for bout in order:
                rest = left(bout, part)
                if not alone:
                    rest = frames if rest is None else min(rest, frames)
                bout.measure(Order("offline", rest, part.duration_ns))

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        return {"lanes": lanes}
