"""Frames from a source through a model to sinks, decoding and writing overlapped with inference."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeinfer.errors import EdgeInferError
from edgeinfer.model import Lane, Model
from edgeinfer.pipeline.feed import Feed, Item
from edgeinfer.pipeline.outbox import Outbox, Outcome
from edgeinfer.pipeline.tally import Tally
from edgeinfer.sinks import Sink
from edgeinfer.sources import Source


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
        count = self._model.plan.lanes + self._options.overlap
        lanes = [self._model.lane() for _ in range(count)]
        self._warmup_frames = count
        for lane in lanes:
            lane.warm_up()
        feed = Feed(
            self._source, self._options.policy, self._options.frames, self._options.skip_errors
        )
        outbox = Outbox(self._sinks, self._tell)
        complete = False
        try:
            self._work(lanes, feed, outbox)
            complete = True
        finally:
            self._dropped = feed.dropped
            self._close(feed, outbox, lanes, complete)
        return self.summary()

    def _work(self, lanes: Sequence[Lane], feed: Feed, outbox: Outbox) -> None:
        gate = threading.Semaphore(self._model.plan.lanes)
        threads = [
            threading.Thread(
                target=self._drive,
                args=(lane, gate, feed, outbox),
                name=f"edgeinfer-lane-{number}",
                daemon=True,
            )
            for number, lane in enumerate(lanes)
        ]
        self.tally.begin()
        for thread in threads:
            thread.start()
        for thread in threads:
            # A bounded wait keeps this thread able to take Ctrl-C and stop().
            while thread.is_alive():
                thread.join(timeout=0.1)
                if self._stop.is_set() or outbox.crash is not None:
                    feed.stop()
        if self._failure is not None:
            raise self._failure

    def _drive(self, lane: Lane, gate: threading.Semaphore, feed: Feed, outbox: Outbox) -> None:
        try:
            while self._failure is None and not self._stop.is_set():
                with self._take_lock:
                    item = feed.take()
                if item is None:
                    return
                outbox.put(self._outcome(lane, gate, item))
        except BaseException as error:
            if self._failure is None:
                self._failure = error
            feed.stop()

    def _outcome(self, lane: Lane, gate: threading.Semaphore, item: Item) -> Outcome:
        error = item.error
        if item.frame is not None:
            try:
                result = lane.predict(item.frame, gate, item.dropped_before)
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

    def _close(self, feed: Feed, outbox: Outbox, lanes: Sequence[Lane], complete: bool) -> None:
        feed.close()
        try:
            outbox.close()
        finally:
            for lane in lanes:
                lane.close()
            for sink in self._sinks:
                sink.close(complete=complete and outbox.crash is None)

    def summary(self) -> dict[str, Any]:
        """What ran and what it took."""
        known = self._model.summary()
        flags = [*known.pop("flags"), *sorted(set(self.tally.flags) - set(known.get("flags", ())))]
        return {
            "schema": "edgeinfer.run/1",
            **known,
            "warmup_frames": self._warmup_frames,
            "dropped": self._dropped,
            "errors": self.tally.errors,
            **self.tally.to_dict(),
            "flags": list(dict.fromkeys(flags)),
        }
