"""Frames arrive at a fixed rate, as a camera delivers them: ages, missed deadlines, drops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import DEFAULT_FPS, BenchOptions
from edgeinfer_bench.order import Order
from edgeinfer_bench.scenarios.base import SETTLE_NS, Part, Progress, left, rounds

# Frames back to back before the paced ones show what the gaps between frames cost.
_REFERENCE = Order(frames=50, duration_ns=1_000_000_000)
# With several models: arrivals of each in a turn last this long.
_TURN_S = 1.0


class Paced:
    """Open loop with regular arrivals."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._fps = options.fps or DEFAULT_FPS

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        if self._options.fps is None:
            self._fps = bouts[0].know.fps or DEFAULT_FPS
        for bout in bouts:
            bout.reference = bout.try_order(_REFERENCE)
        turn = None
        if len(bouts) > 1:
            turn = self._options.block
            turn = turn or math.ceil(_TURN_S * self._fps * self._options.streams)
        for order, _ in rounds(bouts, part, progress):
            for bout in order:
                bout.measure(self._order(bout, part, turn))

    def _order(self, bout: Bout, part: Part, turn: int | None) -> Order:
        frames = left(bout, part)
        if turn is not None:
            frames = turn if frames is None else min(turn, frames)
        return Order(
            kind="open-loop",
            frames=frames,
            duration_ns=part.duration_ns,
            interval_ns=round(1e9 / self._fps),
            streams=self._options.streams,
            policy=self._options.policy or "latest",
            settle_ns=0 if turn is None else SETTLE_NS,
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
