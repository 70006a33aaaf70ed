"""A live stream that is opened anew whenever it breaks off."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator

from edgeinfer.errors import SourceError, worth_telling
from edgeinfer.frames import Frame, FrameId
from edgeinfer.sources.base import SourceInfo
from edgeinfer.sources.video import Video, damaged_note
from edgeinfer.timing import now_ns

# Between one try and the next: soon at first, then gently (a camera that starts takes a minute).
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
# What breaks off again before that was not really back.
_BACK_S = 30.0


class _Numbering:
    """Frames of one recording after the other, by the count and the clock of the whole.

    Attributes:
        last: the last one.
    """

    def __init__(self) -> None:
        self.last: FrameId | None = None
        self._restarts = self._first_index = self._media_shift_ns = 0

    def go_on(self, first: FrameId) -> None:
        """Another recording begins with this frame."""
        before = self.last
        if before is None:
            return
        self._restarts += 1
        self._first_index = before.index + 1
        if first.media_time_ns is not None and before.media_time_ns is not None:
            passed = first.ready_ns - before.ready_ns
            self._media_shift_ns = before.media_time_ns + passed - first.media_time_ns

    def __call__(self, frame: Frame) -> Frame:
        identity = frame.id
        if self._restarts:
            media = identity.media_time_ns
            identity = dataclasses.replace(
                identity,
                index=self._first_index + identity.index,
                media_time_ns=None if media is None else media + self._media_shift_ns,
                restarts=self._restarts,
            )
            frame = dataclasses.replace(frame, id=identity)
        self.last = identity
        return frame


class Lasting:
    """The frames of a live stream, across its interruptions.

    Frames go on counting where they broke off, `FrameId.restarts` grows, and the media time has the
    gap that a clock on the wall saw. It is patient from the beginning: a box may start sooner than
    its camera. What cannot get better (`SourceError.for_good`) is raised at once, and a stream that
    is a recording (`Video.recording`) ends where it ends.

    Args:
        name: of the stream, for people.
        opener: opens it; what it raises beside SourceError goes through.
        patience_s: seconds after which it is given up where no try brought a frame; may be
            infinite.
        told: takes a sentence when the stream breaks off and when it is back; of many, a few. It
            is called in the thread that reads.
    """

    def __init__(
        self,
        name: str,
        opener: Callable[[], Video],
        patience_s: float,
        told: Callable[[str], None] | None = None,
    ) -> None:
        self._name = name
        self._opener = opener
        self._patience_s = patience_s
        self._told = told or (lambda _: None)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._current: Video | None = None
        self._info: SourceInfo | None = None
        self._opened_ns = 0
        self._broken_ns: int | None = None
        self._ended_ns: int | None = None
        self._breaks = self._away_ns = self._damaged = 0
        self._wait_s = _FIRST_WAIT_S
        self._numbering = _Numbering()
        self._fresh = True
        try:
            self._open()  # its child starts at once
        except SourceError as error:
            self._broke(error, wait=False)

    @property
    def info(self) -> SourceInfo:
        """What the stream is like where it is first reached; waits for that.

        Raises:
            SourceError: if it is not reached in time.
        """
        while self._info is None:
            if self._closed.is_set():
                raise SourceError(f"{self._name} was closed before it was opened.")
            self._learn()
        return self._info

    def _learn(self) -> None:
        try:
            self._info = self._open().info
        except SourceError as error:
            self._broke(error)

    @property
    def _how_long(self) -> str:
        return "for ever" if math.isinf(self._patience_s) else f"for {self._patience_s:g} s"

    @property
    def notes(self) -> tuple[str, ...]:
        current = self._current
        notes = () if current is None else current.ending
        if self._breaks:
            times = "once" if self._breaks == 1 else f"{self._breaks} times"
            away = f"{self._away_until_now_ns() / 1e9:.1f} s"
            notes += (f"{self._name} broke off {times} and was away for {away} in all.",)
        damaged = self._damaged + (0 if current is None else current.damaged)
        return (*notes, *damaged_note(self._name, damaged))

    def _away_until_now_ns(self) -> int:
        """How long it gave no frame, also where it never came back."""
        last = self._numbering.last
        if self._broken_ns is None or last is None:
            return self._away_ns
        ended = now_ns() if self._ended_ns is None else self._ended_ns
        return self._away_ns + ended - last.ready_ns

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        while not self._closed.is_set():
            frame = self._next()
            if frame is not None:
                return frame
        raise StopIteration

    def _next(self) -> Frame | None:
        """A frame; None where the stream broke off, or is over."""
        try:
            source = self._open()
            self._info = self._info or source.info
            frame = next(source, None)
        except SourceError as error:
            self._broke(error)
            return None
        if frame is not None:
            return self._numbered(frame)
        if source.recording:
            self._end()
        else:
            self._broke(SourceError(f"{self._name} was ended by its server."))
        return None

    def _open(self) -> Video:
        """What is open, or opened now."""
        if self._current is None:
            source = self._opener()
            with self._lock:
                if self._closed.is_set():
                    source.close()
                    raise SourceError(f"{self._name} was closed before it was opened.")
                self._current = source
            self._opened_ns = now_ns()
            self._fresh = True
        return self._current

    def _broke(self, error: SourceError, wait: bool = True) -> None:
        """Let go what broke off, and wait a while.

        Raises:
            SourceError: the same, where it is not to be tried again.
        """
        with self._lock:
            source, self._current = self._current, None
        if source is not None:
            self._damaged += source.damaged
            source.close()
        if self._closed.is_set():
            return
        for_good = error.for_good or (source is not None and source.recording)
        now = now_ns()
        if self._broken_ns is None:
            self._broken_ns = now
            if now - self._opened_ns > _BACK_S * 1e9:
                self._wait_s = _FIRST_WAIT_S
            self._breaks += self._numbering.last is not None
            if worth_telling(self._breaks) and not for_good:
                self._told(f"{error} Trying again, {self._how_long}.")
        left_s = self._patience_s - (now - self._broken_ns) / 1e9
        if for_good or left_s <= 0:
            self._give_up(
                error, "" if for_good else f" It was tried again {self._how_long}, in vain."
            )
        if wait:
            self._closed.wait(min(self._wait_s, left_s))
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)

    def _give_up(self, error: SourceError, tried: str) -> None:
        self._end()
        final = SourceError(f"{error}{tried}")
        final.stream = self._name
        last = self._numbering.last
        final.index = 0 if last is None else last.index + 1
        raise final from error

    def _numbered(self, frame: Frame) -> Frame:
        if self._fresh:
            self._fresh = False
            self._back()
            self._numbering.go_on(frame.id)
        return self._numbering(frame)

    def _back(self) -> None:
        """It gives frames."""
        if self._broken_ns is None:
            return
        last = self._numbering.last
        away_ns = now_ns() - (self._broken_ns if last is None else last.ready_ns)
        self._broken_ns = None
        if last is not None:
            self._away_ns += away_ns
        if worth_telling(self._breaks):
            self._told(f"{self._name} is back after {away_ns / 1e9:.1f} s.")

    def _end(self) -> None:
        if self._ended_ns is None:
            self._ended_ns = now_ns()
        self._closed.set()

    def close(self) -> None:
        """Stop at once; a second call does nothing."""
        self._end()
        with self._lock:
            if self._current is not None:
                self._current.close()
