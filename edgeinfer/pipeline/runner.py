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
from edgeinfer.pipeline.worker import Worker
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
        self._stopping = False
        self._take_lock = threading.Lock()
        self._whole = False
        self._stopping_since: int | None = None

    def stop(self) -> None:
        """End soon: frames in work are finished; safe to call in a signal handler."""
        self._stopping = True

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
            outbox.start()
            options = self._options
            feed = Feed(self._source, options.policy, options.frames, options.skip_errors)
            stack.callback(feed.close)
            feed.start()
            workers = [self._worker(lane, feed, outbox) for lane in lanes]
            stack.callback(self._await_lanes, workers, lanes, feed, outbox)
            self._work(workers, lanes, feed, outbox)
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

    def _worker(self, lane: Lane, feed: Feed, outbox: Outbox) -> Worker:
        return Worker(lambda: self._drive(lane, feed, outbox), "edgeinfer-lane")

    def _work(
        self, workers: Sequence[Worker], lanes: Sequence[Lane], feed: Feed, outbox: Outbox
    ) -> None:
        self.tally.begin()
        for worker in workers:
            worker.start()
        for worker in workers:
            # A bounded wait keeps this thread able to take Ctrl-C and stop().
            while not worker.wait(0.1):
                if self._stopping or outbox.crash is not None:
                    feed.stop()
                    self._stop_endless(lanes)
        if self._failure is not None:
            raise self._failure

    def _drive(self, lane: Lane, feed: Feed, outbox: Outbox) -> None:
        try:
            while self._failure is None and not self._stopping:
                with self._take_lock:
                    item = feed.take()
                if item is None:
                    return
                outbox.put(self._outcome(lane, item))
        except BaseException as error:
            interrupted = self._stopping and isinstance(error, ProviderError)
            if self._failure is None and not interrupted:
                self._failure = error
            feed.stop()
            outbox.abandon()

    def _stop_endless(self, lanes: Sequence[Lane]) -> None:
        """Break off inferences that go on for long after everybody was told to stop."""
        if self._stopping_since is None:
            self._stopping_since = now_ns()
        elif now_ns() - self._stopping_since > _PATIENCE_S * 1e9:
            _interrupt(lanes)

    def _await_lanes(
        self, workers: Sequence[Worker], lanes: Sequence[Lane], feed: Feed, outbox: Outbox
    ) -> None:
        """Wait until no lane is inside ONNX Runtime any more."""
        if not all(worker.ended for worker in workers):
            self._stopping = True
            feed.stop()
            outbox.abandon()
        for worker in workers:
            while not worker.finish(_PATIENCE_S):
                _interrupt(lanes)

    def _end(self, outbox: Outbox) -> None:
        """Deliver what is done; after an interruption, for so long only as somebody takes it."""
        hurry = self._stopping or not self._whole
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
            "stopped": self._stopping,
            **self.tally.to_dict(),
            "flags": list(dict.fromkeys(flags)),
        }


def _interrupt(lanes: Sequence[Lane]) -> None:
    """Break off the inference that each of them is in."""
    for lane in lanes:
        lane.interrupt()
