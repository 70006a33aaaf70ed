"""Several sources, one after the other."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from edgeinfer.errors import SourceError, UsageError
from edgeinfer.frames import Frame
from edgeinfer.sources.base import Source, SourceInfo
from edgeinfer.sources.table import check_source, open_source
from edgeinfer.spec import TensorSpec


class Chain:
    """Reads sources in turn; each is opened only when its turn comes, the first one at once.

    Where the first cannot be read, the next one says what frames are like; the reader is told when
    it asks for a frame, as of any other.

    Args:
        openers: one per source, at least one.
    """

    def __init__(self, openers: Sequence[Callable[[], Source]]) -> None:
        self._waiting = deque(openers)
        self._lock = threading.Lock()
        self._closed = False
        self._notes: tuple[str, ...] = ()
        self._several = len(openers) > 1
        self._failed: deque[SourceError] = deque()
        self._current: Source = self._open_first()

    def _open_first(self) -> Source:
        source = None
        while source is None:
            source = self._opened(self._waiting.popleft())
        return source

    def _opened(self, opener: Callable[[], Source]) -> Source | None:
        """None where it cannot be opened and there are others."""
        try:
            return opener()
        except SourceError as error:
            self._put_off(error)
            return None

    def _put_off(self, error: SourceError) -> None:
        """Keep it until somebody asks for a frame; raise it where there is no other source."""
        if not self._waiting:
            raise error
        self._failed.append(error)

    @property
    def info(self) -> SourceInfo:
        """That of the source being read; with several, the number of frames stays open."""
        while True:
            try:
                info = self._current.info
                break
            except SourceError as error:
                self._put_off(error)
                self._current.close()
                self._current = self._open_first()
        if not self._several:
            return info
        return SourceInfo("several sources", info.live, info.kind, None, info.fps, None)

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of all sources read so far."""
        return self._notes + self._current.notes

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        while True:
            if self._failed:
                raise self._failed.popleft()
            source = self._current
            if self._closed:
                raise StopIteration
            try:
                return next(source)
            except StopIteration:
                self._advance(source)

    def _advance(self, source: Source) -> None:
        with self._lock:
            if self._closed or not self._waiting:
                raise StopIteration
            self._notes += source.notes
            source.close()
            opener = self._waiting.popleft()
        # Where this raises, the next call goes on with the source after it: the one that is
        # current has ended and says so again.
        opened = opener()
        with self._lock:
            if self._closed:
                opened.close()
                raise StopIteration
            self._current = opened

    def close(self) -> None:
        """Stop at once; a second call does nothing."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            self._current.close()


def open_sources(
    texts: Sequence[str],
    *,
    size_wh: tuple[int, int] | None = None,
    stride: int = 1,
    threads: int = 1,
    inputs: tuple[TensorSpec, ...] = (),
    reconnect_s: float = 0.0,
    told: Callable[[str], None] | None = None,
) -> Chain:
    """Open several sources as one, in their order; the arguments are those of `open_source`.

    Raises:
        SourceError: if one of them is missing, or none can be opened.
        UsageError: for a text that means nothing.
    """
    if not texts:
        raise UsageError("Name at least one source.")
    for text in texts:
        check_source(text)
    return Chain(
        [
            functools.partial(
                open_source,
                text,
                size_wh=size_wh,
                stride=stride,
                threads=threads,
                inputs=inputs,
                reconnect_s=reconnect_s,
                told=told,
            )
            for text in texts
        ]
    )
