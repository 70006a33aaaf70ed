"""Frames from a source through a model to sinks, decoding and writing overlapped with inference."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

from edgeinfer.errors import EdgeInferError, ProviderError
from edgeinfer.model import Lane, Model
from edgeinfer.pipeline.feed import Feed, Item
from edgeinfer.pipeline.outbox import Outbox, Outcome
from edgeinfer.pipeline.tally import Tally
from edgeinfer.records import dataclass
from edgeinfer.sinks import Sink
from edgeinfer.sources import Source
from edgeinfer.timing import now_ns

# How long an interrupted run waits for a sink that does not take what is ready.
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class RunOptions:
    """How frames are taken.

    Attributes:
        policy: ``all`` or ``latest``.
        frames: at most this many; None for all.
        skip_errors: go on after frames that cannot be read or run.
        overlap: preprocess and decode one frame while another infers: more frames a second; off,
            each frame is answered as soon as possible.
    """

    policy: str = "all"
    frames: int | None = None
    skip_errors: bool = False
    overlap: bool = True


class Run:
    """One run of a model over a source.

    Args:
        tell: called in order with each outcome, from the outbox's thread.
    """

    def __init__(
        self,
        model: Model,
        source: Source,
        sinks: Sequence[Sink],
        options: RunOptions,
        tell: Callable[[Outcome], None] | None = None,
    ) -> None:
        self._model = model
        self._source = source
        self._sinks = list(sinks)
        self._options = options
        self._user_tell = tell
        self._draws = any(sink.needs_pixels for sink in self._sinks)
        self.tally = Tally()
        self._dropped = 0
        self._warmup_frames = 0
        self._failure: BaseException | None = None
        self._stop = threading.Event()
        self._take_lock = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._busy = 0
        self._whole = False
        self._stopping_since: int | None = None

    def stop(self) -> None:
        """End soon: frames in work are finished; safe to call in a signal handler."""
        self._stop.set()

    def run(self) -> dict[str, Any]:
        """Run to the end of the source, or until `stop`.

        Returns:
            The summary (schema ``edgeinfer.run/1``).

        Raises:
            EdgeInferError: from the source, the model or a sink; what was done before is written.
            KeyboardInterrupt: after the sinks are closed.
        """
        with contextlib.ExitStack() as stack:
            # Undone from the last to the first: lanes end, the feed, the outbox, then the sinks.
            for sink in self._sinks:
                stack.callback(self._close_sink, sink)
            lanes = [self._model.lane() for _ in range(self._lane_count())]
            for lane in lanes:
                stack.callback(lane.close)
                self._warmup_frames += lane.warm_up(for_long=self._options.policy == "latest")
            outbox = Outbox(self._sinks, self._tell)
            stack.callback(self._end, outbox)
            options = self._options
            feed = Feed(self._source, options.policy, options.frames, options.skip_errors)
            stack.callback(feed.close)
            stack.callback(self._await_lanes, lanes, feed, outbox)
            self._work(lanes, feed, outbox)
            self._whole = True
        self._dropped = feed.dropped
        return self.summary()

    def _lane_count(self) -> int:
        """One more than inferences run at once where there is one only: it then never stands still.

        Where several run, each has its own processors, and one works while another prepares. What
        a frame leaves for the next one lies in the lane: such models have one, always.
        """
        at_once = self._model.plan.lanes
        overlap = self._options.overlap and not self._model.spec.carries
        return 2 if overlap and at_once == 1 else at_once

    def _work(self, lanes: Sequence[Lane], feed: Feed, outbox: Outbox) -> None:
        self.tally.begin()
        for number, lane in enumerate(lanes):
            threading.Thread(
                target=self._drive,
                args=(lane, feed, outbox),
                name=f"edgeinfer-lane-{number}",
                daemon=True,
            ).start()
            self._busy += 1
        while self._busy:
            # A bounded wait keeps this thread able to take Ctrl-C and stop().
            if self._idle.acquire(timeout=0.1):
                self._busy -= 1
            if self._stop.is_set() or outbox.crash is not None:
                feed.stop()
                self._stop_endless(lanes)
        if self._failure is not None:
            raise self._failure

    def _drive(self, lane: Lane, feed: Feed, outbox: Outbox) -> None:
        try:
            while self._failure is None and not self._stop.is_set():
                with self._take_lock:
                    item = feed.take()
                if item is None:
                    return
                outbox.put(self._outcome(lane, item))
        except BaseException as error:
            interrupted = self._stop.is_set() and isinstance(error, ProviderError)
            if self._failure is None and not interrupted:
                self._failure = error
            feed.stop()
            outbox.abandon()
        finally:
            self._idle.release()

    def _stop_endless(self, lanes: Sequence[Lane]) -> None:
        """Break off inferences that go on for long after everybody was told to stop."""
        if self._stopping_since is None:
            self._stopping_since = now_ns()
        elif now_ns() - self._stopping_since > _PATIENCE_S * 1e9:
            for lane in lanes:
                lane.interrupt()

    def _await_lanes(self, lanes: Sequence[Lane], feed: Feed, outbox: Outbox) -> None:
        """Wait until no lane is inside ONNX Runtime: an interpreter that ends before aborts.

        Threads are not joined: in CPython before 3.13 an interrupted join marks a running thread as
        ended (https://github.com/python/cpython/issues/89455).
        """
        if self._busy:
            self._stop.set()
            feed.stop()
            outbox.abandon()
        while self._busy:
            if self._idle.acquire(timeout=_PATIENCE_S):
                self._busy -= 1
            else:
                for lane in lanes:
                    lane.interrupt()

    def _end(self, outbox: Outbox) -> None:
        """Deliver what is done; after an interruption, for so long only as somebody takes it."""
        hurry = self._stop.is_set() or not self._whole
        try:
            outbox.close(_PATIENCE_S if hurry else None)
        except BaseException:
            self._whole = False
            raise

    def _close_sink(self, sink: Sink) -> None:
        sink.close(complete=self._whole)

    def _outcome(self, lane: Lane, item: Item) -> Outcome:
        error = item.error
        if item.frame is not None:
            try:
                result = lane.predict(item.frame, item.dropped_before)
                # Who draws nothing needs no pixels: the decoder gets its buffer back at once.
                return Outcome(item.sequence, result, item.frame if self._draws else None)
            except EdgeInferError as failure:
                error = failure
        assert error is not None
        if not self._options.skip_errors:
            raise error
        return Outcome(item.sequence, None, item.frame, error)

    def _tell(self, outcome: Outcome) -> None:
        if outcome.result is not None:
            self.tally.add(outcome.result)
        else:
            self.tally.errors += 1
        if self._user_tell is not None:
            self._user_tell(outcome)

    def summary(self) -> dict[str, Any]:
        """What ran and what it took."""
        known = self._model.summary()
        flags = [*known.pop("flags"), *sorted(self.tally.flags)]
        return {
            "schema": "edgeinfer.run/1",
            **known,
            "warmup_frames": self._warmup_frames,
            "dropped": self._dropped,
            "errors": self.tally.errors,
            "stopped": self._stop.is_set(),
            **self.tally.to_dict(),
            "flags": list(dict.fromkeys(flags)),
        }
