"""What every loop works with: the open model, its frames, the clock, and what is noted."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result
from edgeinfer_bench.digests import OutputWatch
from edgeinfer_bench.feed import Feed, keep
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.recorder import Recorder
from edgeinfer_bench.subject import Stream, Subject


def sleep_until(clock: Callable[[], int]) -> Callable[[int], None]:
    """A wait on the real clock. What the system oversleeps belongs to the frame's age."""

    def wait(until_ns: int) -> None:
        left = until_ns - clock()
        if left > 0:
            time.sleep(left / 1e9)

    return wait


@dataclass(eq=False)
class Bench:
    """An open model on the bench.

    Attributes:
        lanes: as many as inferences run at once; the first one measures what is back to back.
        wait_until: returns when the clock shows so many nanoseconds.
        first: the first frame of all and its result.
        own_lanes: one of each stream, where frames carry something on to the next.
    """

    model: Subject
    feed: Feed
    lanes: list[Stream]
    clock: Callable[[], int]
    wait_until: Callable[[int], None]
    cpu_clock: Callable[[], int] = time.process_time_ns
    watch: OutputWatch = field(default_factory=OutputWatch)
    flags: Counter[str] = field(default_factory=Counter)
    fallback: bool = False
    first: tuple[Frame, Result[Payload]] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    own_lanes: list[Stream] = field(default_factory=list)

    def lane_of(self, stream: int, lane: Stream) -> Stream:
        """The lane that a stream's frames go through: where a frame leaves something for the next
        one, each stream has its own."""
        return self.own_lanes[stream] if self.own_lanes else lane

    def open_streams(self, count: int) -> None:
        """Make sure that so many streams can be told apart."""
        if self.model.spec.carries and count > 1:
            while len(self.own_lanes) < count:
                self.own_lanes.append(self.model.lane())

    def close(self) -> None:
        """Let the buffers go."""
        for lane in (*self.lanes, *self.own_lanes):
            lane.close()

    def note(self, result: Result[Payload], frame: Frame | None = None) -> None:
        """Look at a result; called between frames, outside everything timed."""
        if self.first is None and frame is not None:
            self.first = (keep(frame), result)
        self.fallback = self.fallback or result.served.fallback
        if result.flags:
            self.flags.update(result.flags)
        if not self.model.spec.carries:
            self.watch.see(result)

    def turn(
        self,
        order: Order,
        run: Callable[[Recorder], bool],
        *,
        began_ns: int | None = None,
        offered: Callable[[], int] | None = None,
        drops_at_ns: list[int] | None = None,
        streams: list[int] | None = None,
    ) -> Turn:
        """Let a loop run and put together what it noted; an error of the model ends it only.

        Args:
            run: fills the recorder; returns False where a live source ended.
        """
        recorder, error, ended = Recorder(order.frames), None, False
        cpu, began = self.cpu_clock(), self.clock() if began_ns is None else began_ns
        try:
            ended = not run(recorder)
        except EdgeInferError as problem:
            error = str(problem)
        elapsed, cpu = self.clock() - began, self.cpu_clock() - cpu
        return Turn(
            samples_ns=recorder.samples(),
            began_ns=began,
            elapsed_ns=max(0, elapsed),
            cpu_ns=cpu,
            offered=len(recorder) if offered is None else offered(),
            drops_at_ns=tuple(drops_at_ns or ()),
            streams=tuple(streams or ()),
            ended=ended,
            error=error,
        )
