"""As many frames a second as the box can do: the pipeline that `run` uses on recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import cast

from edgeinfer.frames import Frame
from edgeinfer.model import Model
from edgeinfer.pipeline import Outcome, Run, RunOptions
from edgeinfer_bench.loops.bench import Bench
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.recorder import Recorder


class _Again:
    """The frames of a feed as a source, until enough were given or the time is up."""

    def __init__(self, bench: Bench, order: Order) -> None:
        self._feed = bench.feed
        self._clock = bench.clock
        self._left = order.frames
        self._duration_ns = order.duration_ns
        self.info = dataclasses.replace(bench.feed.info, frame_count=None)
        self.notes: tuple[str, ...] = ()
        self.ended = False
        self.first_ns: int | None = None
        self.first: Frame | None = None

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        now = self._clock()
        if self.first_ns is None:
            self.first_ns = now
        over = self._duration_ns is not None and now - self.first_ns >= self._duration_ns
        if self._left == 0 or over:
            raise StopIteration
        frame = self._feed.next()
        if frame is None:
            self.ended = True
            raise StopIteration
        if self._left is not None:
            self._left -= 1
        if self.first is None:
            self.first = frame
        return frame

    def close(self) -> None:
        self._left = 0


def offline(bench: Bench, order: Order) -> Turn:
    """Measure until the frames are done or the time is up, from the first frame taken to the last
    answer: what the pipeline does before its first frame does not count."""
    source = _Again(bench, order)
    last_ns = 0

    def run(recorder: Recorder) -> bool:
        def tell(outcome: Outcome) -> None:
            nonlocal last_ns
            if outcome.result is not None:
                last_ns = bench.clock()
                bench.note(outcome.result, None if len(recorder) else source.first)
                recorder.add(outcome.result, last_ns - outcome.result.latency_ns)

        # The pipeline takes a model for what it does, and stubs do the same.
        Run(cast(Model, bench.model), source, [], RunOptions(), tell).run()
        return not source.ended

    turn = bench.turn(order, run)
    first_ns = source.first_ns or turn.began_ns
    return dataclasses.replace(
        turn, began_ns=first_ns, elapsed_ns=max(0, last_ns - first_ns) if turn.frames else 0
    )
