"""One model and its frames, opened, warmed up and measured in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeinfer.timing import now_ns
from edgeinfer_bench.feed import Feed
from edgeinfer_bench.loops import LOOPS, Bench
from edgeinfer_bench.loops.bench import sleep_until
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.probe import take_pairs
from edgeinfer_bench.recorder import Recorder, Samples
from edgeinfer_bench.subject import Entry
from edgeinfer_bench.warmup import MOST_FRAMES, MOST_NS, settled

# Threads that wait busily use this up whole.
_LOOK_NS = 1_000_000


@dataclass(frozen=True)
class Opened:
    """What is known once a model is open and warm.

    Attributes:
        about: `Model.summary`, and ``notes``: what is worth telling about how it was opened.
        source: `Feed.to_dict`.
        fps: of the recording, None without a clock.
        lanes: inferences at once.
        warmup_samples_ns: the frames before those that count; ``settled`` tells whether the last
            of them took alike.
    """

    about: Mapping[str, Any]
    source: Mapping[str, Any]
    fps: float | None
    lanes: int
    opening_ns: int
    warmup_samples_ns: Samples
    settled: bool | None


@dataclass(frozen=True)
class Closing:
    """What is known at the end: see `Replicate.evidence`."""

    about: Mapping[str, Any]
    source: Mapping[str, Any]
    evidence: Mapping[str, Any] = field(default_factory=dict)


class Process(Protocol):
    """Somebody who measures one model: `Rig` in this process, or the other end of a child."""

    def open(self) -> Opened:
        """Open the model and its frames, and warm up.

        Raises:
            EdgeInferError: why that is not possible.
        """
        ...

    def measure(self, order: Order, /) -> Turn:
        """Carry out an order.

        Raises:
            EdgeInferError: if the process is gone; what a model says is in the turn.
        """
        ...

    def finish(self) -> Closing:
        """Look once more whether the outputs can be trusted."""
        ...

    def close(self) -> None:
        """Let everything go; a second call does nothing."""
        ...


class Rig:
    """Measures in this process.

    Args:
        warmup: frames before those that count; None: until they settle.
        most_frames: of the source that are used, round and round; None: all that can be held.
        clock: monotonic nanoseconds. wait_until: returns when the clock shows so many.
    """

    def __init__(
        self,
        entry: Entry,
        warmup: int | None = None,
        most_frames: int | None = None,
        clock: Callable[[], int] = now_ns,
        wait_until: Callable[[int], None] | None = None,
    ) -> None:
        self._entry = entry
        self._warmup = warmup
        self._most_frames = most_frames
        self._clock = clock
        self._wait_until = wait_until or sleep_until(clock)
        self._stack = contextlib.ExitStack()
        self._bench: Bench | None = None

    def open(self) -> Opened:
        with contextlib.ExitStack() as stack:
            start = self._clock()
            model = self._entry.open_model()
            stack.callback(model.close)
            opening_ns = self._clock() - start
            feed = Feed(self._entry.open_source(model), self._clock, self._most_frames)
            stack.callback(feed.close)
            about = {**model.summary(), "notes": list(model.notes)}
            planned = int((about.get("plan") or {}).get("lanes", 1))
            count = 1 if model.spec.carries else max(1, planned)
            lanes = [model.lane() for _ in range(count)]
            bench = Bench(model, feed, lanes, self._clock, self._wait_until)
            stack.callback(bench.close)
            self._bench = bench
            warm = Recorder(self._warmup)
            calm = self._warm_up(self._bench, warm)
            self._stack = stack.pop_all()
        return Opened(about, feed.to_dict(), feed.info.fps, count, opening_ns, warm.samples(), calm)

    def _warm_up(self, bench: Bench, recorder: Recorder) -> bool | None:
        most = MOST_FRAMES if self._warmup is None else self._warmup
        latencies: list[int] = []
        began = self._clock()
        while len(latencies) < most:
            frame = bench.feed.next()
            if frame is None:
                break
            at = self._clock()
            result = bench.lanes[0].predict(frame)
            recorder.add(result, at - began)
            bench.note(result, frame)
            latencies.append(result.latency_ns)
            if self._warmup is None and (settled(latencies) or self._clock() - began > MOST_NS):
                break
        for lane in bench.lanes[1:]:
            if bench.first is not None:
                lane.predict(bench.first[0])
        return settled(latencies) if self._warmup is None else None

    @property
    def bench(self) -> Bench:
        assert self._bench is not None
        return self._bench

    def measure(self, order: Order, /) -> Turn:
        turn = LOOPS[order.kind](self.bench, order)
        self._settle(order.settle_ns)
        return turn

    def _settle(self, most_ns: int) -> None:
        """Wait until nothing of this process runs any more."""
        bench = self.bench
        until = bench.clock() + most_ns
        while bench.clock() < until:
            before = bench.cpu_clock()
            bench.wait_until(bench.clock() + _LOOK_NS)
            if bench.cpu_clock() - before < _LOOK_NS // 5:
                return

    def finish(self) -> Closing:
        """Run the first frame once more and look for a cache, untimed."""
        bench = self.bench
        fresh, again = take_pairs(bench)
        if bench.first is not None and not bench.model.spec.carries:
            frame, before = bench.first
            bench.watch.compare(before, bench.lanes[0].predict(frame))
        evidence = {
            "outputs_compared": bench.watch.compared,
            "outputs_changed": bench.watch.changed,
            "fallback": bench.fallback,
            "flagged_frames": dict(bench.flags),
            "fresh_ns": fresh,
            "again_ns": again,
            "source_notes": list(bench.feed.notes),
            "source_loops": bench.feed.loops,
            "source_whole": bench.feed.whole,
        }
        return Closing(bench.model.summary(), bench.feed.to_dict(), evidence)

    def close(self) -> None:
        self._stack.close()
        self._bench = None
