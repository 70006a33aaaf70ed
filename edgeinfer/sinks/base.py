"""What a sink is: something that takes results one by one, in order."""

from __future__ import annotations

from typing import Protocol

from edgeinfer.errors import EdgeInferError, SinkError
from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result


class ReaderGone(SinkError):
    """Whoever read the results has stopped reading: no failure, only the end (``| head``)."""


class Sink(Protocol):
    """Takes results, from one thread."""

    @property
    def needs_pixels(self) -> bool:
        """Whether it wants frames with the results drawn in."""
        ...

    def write(self, result: Result[Payload], frame: Frame | None, /) -> Result[Payload] | None:
        """Take one result, with the drawn frame where it wants one and there is one.

        Returns:
            The result as the sinks after this one are to see it (with the name of a file that
            this one wrote), or None for the same.

        Raises:
            SinkError: if it cannot be written.
            ReaderGone: if nobody reads any more.
        """
        ...

    def fail(self, stream: str | None, index: int | None, error: EdgeInferError, /) -> None:
        """Take notice of a frame that gave no result.

        Args:
            stream: of the frame, where that much is known.
            index: in the stream.
            error: that stands in its place.
        """
        ...

    def close(self, *, complete: bool) -> None:
        """Finish what was begun, so that it plays or parses; a second call does nothing.

        Args:
            complete: whether everything was written that was to be.

        Raises:
            SinkError: if the end cannot be written.
        """
        ...
