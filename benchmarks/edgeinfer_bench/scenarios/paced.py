"""Frames arrive at a fixed rate, as a camera delivers them: ages, missed deadlines, drops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import DEFAULT_FPS, BenchOptions, check_arrivals
from edgeinfer_bench.order import Order
from edgeinfer_bench.scenarios.base import SETTLE_NS, Part, Progress, left, rounds

# Frames back to back before the paced ones show what the gaps between frames cost.
_REFERENCE = Order(frames=50, duration_ns=1_000_000_000)
# With several models: arrivals of each in a turn last this long.
_TURN_S = 1.0
# One alone is asked this often for what it has: it is then safe.
_SLICE_S = 5.0


class Paced:
    """Open loop with regular arrivals."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._fps = options.fps or DEFAULT_FPS
        self.block: int | None = None

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        if self._options.fps is None:
            self._fps = bouts[0].know.fps or DEFAULT_FPS
            check_arrivals(self._fps, self._options.streams)
        for bout in bouts:
            bout.reference = bout.try_order(_REFERENCE)
        rate = self._fps * self._options.streams
        if len(bouts) > 1:
            self.block = self._options.block or math.ceil(_TURN_S * rate)
        most = self.block
        if most is None and self._options.policy != "all":
            # What is cut in two loses a frame at most; a queue that grows must not be cut.
            most = math.ceil(_SLICE_S * rate)
        for order in rounds(bouts, part, progress):
            for bout in order:
                bout.measure(self._order(bout, part, most))

    def _order(self, bout: Bout, part: Part, most: int | None) -> Order:
        frames = left(bout, part)
        if most is not None:
            frames = most if frames is None else min(most, frames)
        return Order(
            kind="open-loop",
            frames=frames,
            duration_ns=part.duration_ns,
            interval_ns=round(1e9 / self._fps),
            streams=self._options.streams,
            policy=self._options.policy or "latest",
            settle_ns=0 if self.block is None else SETTLE_NS,
        )

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        options = self._options
        deadline_ns = 1e9 / self._fps if options.deadline_ms is None else options.deadline_ms * 1e6
        return {
            "fps": round(self._fps, 6),
            "streams": options.streams,
            "policy": options.policy or "latest",
            "drops_asked": options.policy == "latest",
            "deadline_ns": round(deadline_ns),
            "lanes": lanes,
        }
