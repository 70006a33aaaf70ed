"""Frames one after the other, each taken when the one before it is answered."""

from __future__ import annotations

from edgeinfer_bench.loops.bench import Bench
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.recorder import Recorder


def back_to_back(bench: Bench, order: Order) -> Turn:
    """Measure until the frames are done or the time is up.

    A frame is ready when it is handed out: nothing waits, and its age is its latency.
    """
    spare = Recorder(order.discard)
    for _ in range(order.discard):
        if not _step(bench, spare):
            break
    started = bench.clock()

    def run(recorder: Recorder) -> bool:
        while order.frames is None or len(recorder) < order.frames:
            if order.duration_ns is not None and bench.clock() - started >= order.duration_ns:
                break
            if not _step(bench, recorder):
                return False
        return True

    return bench.turn(order, run)


def _step(bench: Bench, recorder: Recorder) -> bool:
    frame = bench.feed.next()
    if frame is None:
        return False
    began = bench.clock()
    result = bench.lanes[0].predict(frame)
    recorder.add(result, began)
    bench.note(result, frame)
    return True
