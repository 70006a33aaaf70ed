"""Reads a source ahead in a thread of its own, drops by policy and counts exactly."""

from __future__ import annotations

import threading
from collections import deque

from edgeinfer.errors import EdgeInferError
from edgeinfer.frames import Frame
from edgeinfer.pipeline.worker import Worker
from edgeinfer.records import dataclass
from edgeinfer.sources import Source

POLICIES = ("all", "latest")
# The decoder's own buffers are the read-ahead; more here would only hold memory.
_DEPTH = 1
# Errors are never dropped; so many of them wait before reading does.
_MOST_ERRORS = 16
# How long a source may take to come back from its last frame.
_LAST_READ_S = 10.0


@dataclass(frozen=True, eq=False)
class Item:
    """What the feed hands out: a frame, or the error that stands in its place.

    Attributes:
        sequence: position among everything handed out, from 0.
        dropped_before: frames dropped since the previous item.
    """

    sequence: int
    dropped_before: int
    frame: Frame | None
    error: EdgeInferError | None = None


class Feed:
    """A bounded queue between a source and those who take from it.

    Args:
        policy: ``all`` waits for room, ``latest`` drops the oldest frame that nobody took.
        limit: how many frames are handed out at most.
        skip_errors: whether reading goes on after a frame that cannot be read.
    """

    def __init__(
        self, source: Source, policy: str, limit: int | None = None, skip_errors: bool = False
    ) -> None:
        self._source = source
        self._latest = policy == "latest"
        self._limit = limit
        self._skip_errors = skip_errors
        self._queue: deque[tuple[Frame | None, EdgeInferError | None]] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._crash: BaseException | None = None
        self._handed = 0
        self._frames = 0
        self._dropped_since = 0
        self.read = 0
        self.dropped = 0
        self._worker = Worker(self._work, "edgeinfer-feed")

    def start(self) -> None:
        """Begin to read."""
        self._worker.start()

    def _work(self) -> None:
        try:
            frames = iter(self._source)
            while not self._stopped and not self._read_enough():
                try:
                    frame = next(frames)
                except StopIteration:
                    break
                except EdgeInferError as error:
                    self._put(None, error)
                    if not self._skip_errors:
                        break
                    continue
                self.read += 1
                self._put(frame, None)
        except BaseException as error:
            self._crash = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _read_enough(self) -> bool:
        """Whether the limit is reached; where frames are dropped, only `take` can tell."""
        return self._limit is not None and not self._latest and self.read >= self._limit

    def _put(self, frame: Frame | None, error: EdgeInferError | None) -> None:
        with self._changed:
            if self._latest and frame is not None:
                errors = [pair for pair in self._queue if pair[0] is None]
                self.dropped += len(self._queue) - len(errors)
                self._dropped_since += len(self._queue) - len(errors)
                self._queue = deque(errors)
            else:
                room = _MOST_ERRORS if self._latest else _DEPTH
                self._changed.wait_for(lambda: len(self._queue) < room or self._stopped)
            if not self._stopped:
                self._queue.append((frame, error))
            self._changed.notify_all()

    def take(self) -> Item | None:
        """The next item; None at the end.

        Raises:
            BaseException: whatever made the reading thread crash, once all before it is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended or self._stopped)
            if self._stopped or not self._queue:
                if self._crash is not None and not self._stopped:
                    raise self._crash
                return None
            frame, error = self._queue.popleft()
            self._frames += frame is not None
            self._stopped = self._limit is not None and self._frames >= self._limit
            item = Item(self._handed, self._dropped_since, frame, error)
            self._handed += 1
            self._dropped_since = 0
            self._changed.notify_all()
            return item

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._stopped = True
            self._queue.clear()
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, close the source and await the thread; a second call does nothing."""
        self.stop()
        self._source.close()
        self._worker.finish(_LAST_READ_S)
