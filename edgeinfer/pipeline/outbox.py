"""Puts results back in order and hands them to the sinks, in a thread of its own.

It never loses anything: where sinks are slow it makes the lanes wait, and then the feed drops by
its policy and counts.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

from edgeinfer.draw import annotate
from edgeinfer.errors import EdgeInferError, SinkError, SourceError
from edgeinfer.frames import Array, Frame
from edgeinfer.pipeline.worker import Worker
from edgeinfer.records import dataclass
from edgeinfer.results import Payload, Result
from edgeinfer.sinks import Sink
from edgeinfer.timing import now_ns

_DEPTH = 6


@dataclass(frozen=True, eq=False)
class Outcome:
    """A result with its frame, or the error that stands in its place."""

    sequence: int
    result: Result[Payload] | None
    frame: Frame | None
    error: EdgeInferError | None = None


class Outbox:
    """Delivers outcomes in order.

    Args:
        sinks: those that need pixels come first, so that the others can tell what writing took.
        tell: called with each outcome after delivery.
    """

    def __init__(self, sinks: Sequence[Sink], tell: Callable[[Outcome], None]) -> None:
        self._sinks = sorted(sinks, key=lambda sink: not sink.needs_pixels)
        self._draws = any(sink.needs_pixels for sink in sinks)
        self._tell = tell
        self._waiting: dict[int, Outcome] = {}
        self._next = 0
        self._changed = threading.Condition()
        self._ended = False
        self._abandoned = False
        self.crash: BaseException | None = None
        self._worker = Worker(self._work, "edgeinfer-outbox")

    def start(self) -> None:
        """Begin to deliver."""
        self._worker.start()

    def put(self, outcome: Outcome) -> None:
        """Hand over an outcome; waits where too many are undelivered."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    len(self._waiting) < _DEPTH
                    or outcome.sequence == self._next
                    or self.crash is not None
                    or self._abandoned
                )
            )
            self._waiting[outcome.sequence] = outcome
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._next in self._waiting or self._ended)
                    if self._next not in self._waiting:
                        return
                    outcome = self._waiting.pop(self._next)
                    self._next += 1
                    self._changed.notify_all()
                self._tell(self._deliver(outcome))
        except BaseException as error:
            with self._changed:
                self.crash = error
                self._changed.notify_all()

    def _deliver(self, outcome: Outcome) -> Outcome:
        result, frame = outcome.result, outcome.frame
        if result is None:
            stream, index = _whose(outcome)
            for sink in self._sinks:
                if outcome.error is not None:
                    sink.fail(stream, index, outcome.error)
            return outcome
        if self._draws and frame is not None and frame.id.size_wh is not None:
            began = now_ns()
            drawn: Array = annotate(frame.data, result)
            frame = dataclasses.replace(frame, data=drawn)
            result = _with_stage(result, "draw", now_ns() - began)
        for sink in self._sinks:
            began = now_ns()
            result = sink.write(result, frame) or result
            if sink.needs_pixels:
                result = _with_stage(result, "write", now_ns() - began)
        return dataclasses.replace(outcome, result=result)

    def abandon(self) -> None:
        """Make nobody wait for room any more: an outcome before the others will never come."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def close(self, patience_s: float | None = None) -> None:
        """Deliver what is there, then end.

        Args:
            patience_s: give up on a sink that takes nothing for so long; None waits for ever.

        Raises:
            EdgeInferError: what a sink raised.
        """
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if not self._worker.finish(patience_s):
            raise SinkError("A reader of the results takes nothing more: they end here.")
        if self.crash is not None:
            raise self.crash


def _with_stage(result: Result[Payload], stage: str, spent_ns: int) -> Result[Payload]:
    return dataclasses.replace(result, stages_ns={**result.stages_ns, stage: spent_ns})


def _whose(outcome: Outcome) -> tuple[str | None, int | None]:
    """Stream and index of the frame that gave no result."""
    if outcome.frame is not None:
        return outcome.frame.id.stream, outcome.frame.id.index
    if isinstance(outcome.error, SourceError):
        return outcome.error.stream, outcome.error.index
    return None, None
