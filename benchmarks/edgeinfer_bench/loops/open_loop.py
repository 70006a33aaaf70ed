"""Frames arrive when they do, whether the model is ready or not.

Every frame's age counts from when it was due, so that one that waits behind a slow one shows it: a
closed loop would ask less of a slow box and hide that (coordinated omission; Schroeder, Wierman and
Harchol-Balter, "Open versus closed: a cautionary tale", NSDI 2006).
"""

from __future__ import annotations

import heapq
import math
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np

from edgeinfer.errors import UsageError
from edgeinfer_bench.loops.bench import Bench
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.recorder import Recorder
from edgeinfer_bench.subject import Stream

# The first frame is due so long after the start: everybody is waiting by then.
_HEAD_START_NS = 2_000_000
_LEAST_PATIENCE_NS = 10_000_000_000


def arrivals(order: Order) -> Iterator[tuple[int, int]]:
    """Nanoseconds after the start and the stream of each arrival, in their order."""
    if order.seed is not None:
        yield from _random(order)
        return
    shift = order.interval_ns // order.streams
    due = [(stream * shift, stream) for stream in range(order.streams)]
    while True:
        at, stream = due[0]
        yield at, stream
        heapq.heapreplace(due, (at + order.interval_ns, stream))


def _random(order: Order) -> Iterator[tuple[int, int]]:
    random, at = np.random.default_rng(order.seed), 0
    while True:
        at += round(random.exponential(order.interval_ns))
        yield at, int(random.integers(order.streams))


class _Queue:
    """What has arrived and waits: of each stream the newest frame only where others are dropped."""

    def __init__(self, order: Order, start_ns: int) -> None:
        self._order = order
        self.start_ns = start_ns
        self._coming = arrivals(order)
        self._waiting: deque[tuple[int, int]] = deque()
        self.offered = 0
        self.drops_at_ns: list[int] = []
        self._next: tuple[int, int] | None = None
        self._advance()

    def _advance(self) -> None:
        at, stream = next(self._coming)
        over = self._order.frames is not None and self.offered >= self._order.frames
        late = self._order.duration_ns is not None and at >= self._order.duration_ns
        self._next = None if over or late else (self.start_ns + at, stream)

    @property
    def next_due(self) -> int | None:
        """When the next one comes, None after the last."""
        return None if self._next is None else self._next[0]

    def take_in(self, now_ns: int) -> None:
        """Let everything arrive that is due."""
        while self._next is not None and self._next[0] <= now_ns:
            due, stream = self._next
            self.offered += 1
            self._line_up(due, stream)
            self._advance()

    def _line_up(self, due: int, stream: int) -> None:
        """Join the queue. A frame that replaces another one takes its place: at the end, a stream
        whose frames come right before its turn would wait for ever."""
        if self._order.policy == "latest":
            for place, (_, waiting) in enumerate(self._waiting):
                if waiting == stream:
                    self._waiting[place] = (due, stream)
                    self.drops_at_ns.append(due)
                    return
        self._waiting.append((due, stream))

    def pop(self) -> tuple[int, int] | None:
        """The one whose turn it is: when it was due, and its stream."""
        return self._waiting.popleft() if self._waiting else None


class _Loop:
    """One run: as many workers as lanes, one queue."""

    def __init__(self, bench: Bench, order: Order, recorder: Recorder, queue: _Queue) -> None:
        self._bench = bench
        self._order = order
        self._recorder = recorder
        self._queue = queue
        self._turnstile = threading.Lock()
        self._until_ns = queue.start_ns + _patience_ns(order)
        self._late = 0
        self._over = False
        self.error: BaseException | None = None
        self.streams: list[int] = []

    def work(self, lane: Stream) -> None:
        """Answer frames until none is left; what goes wrong ends every lane, see `error`."""
        try:
            while not self._over and self._step(lane):
                pass
        except BaseException as error:
            self.error, self._over = self.error or error, True

    def _step(self, lane: Stream) -> bool:
        """One frame; the lane that waits for the next one holds the turnstile."""
        bench = self._bench
        with self._turnstile:
            taken = self._take()
            frame = None if taken is None else bench.feed.next(taken[0])
        if taken is None or frame is None:
            return False
        began = bench.clock()
        result = bench.lane_of(taken[1], lane).predict(frame)
        with bench.lock:
            self._recorder.add(result, began)
            if self._order.streams > 1:
                self.streams.append(taken[1])
            bench.note(result, frame)
            limit = self._order.give_up_over_ns
            self._late += limit is not None and result.age_ns > limit
            self._over |= limit is not None and self._late > self._order.give_up_after
        return True

    def _take(self) -> tuple[int, int] | None:
        queue, bench = self._queue, self._bench
        while True:
            now = bench.clock()
            if now >= self._until_ns:
                return None
            queue.take_in(now)
            taken = queue.pop()
            if taken is not None:
                return taken
            if queue.next_due is None:
                return None
            bench.wait_until(queue.next_due)


def _patience_ns(order: Order) -> float:
    """How long after the start the last frame may be answered: where nothing is dropped, a queue
    that only grew would take for ever to empty. As long again as all arrivals, at least 10 s."""
    ends = [math.inf]
    if order.frames is not None:
        ends.append(order.frames * order.interval_ns / order.streams)
    if order.duration_ns is not None:
        ends.append(order.duration_ns)
    return min(ends) + max(_LEAST_PATIENCE_NS, min(ends))


def open_loop(bench: Bench, order: Order) -> Turn:
    """Measure until every arrival was answered or dropped, or nobody can wait for it any more.

    Raises:
        UsageError: for a live source, which sets its own pace.
    """
    if bench.feed.info.live:
        raise UsageError(
            f"{bench.feed.info.name} is live and sets its own pace: record some of it and give the "
            f"file, or measure it with the scenario 'single'."
        )
    bench.open_streams(order.streams)
    start = bench.clock() + _HEAD_START_NS
    queue = _Queue(order, start)
    streams: list[int] = []

    def run(recorder: Recorder) -> bool:
        loop = _Loop(bench, order, recorder, queue)
        loop.streams = streams
        others = [
            threading.Thread(target=loop.work, args=(lane,), name=f"edgeinfer-bench-{number}")
            for number, lane in enumerate(bench.lanes[1:], 1)
        ]
        for thread in others:
            thread.start()
        loop.work(bench.lanes[0])
        for thread in others:
            thread.join()
        if loop.error is not None:
            raise loop.error
        return True

    return bench.turn(
        order,
        run,
        began_ns=start,
        offered=lambda: queue.offered,
        drops_at_ns=queue.drops_at_ns,
        streams=streams,
    )
