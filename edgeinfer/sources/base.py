"""What a source is: something that gives frames one by one and never drops any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from edgeinfer.frames import Frame
from edgeinfer.records import dataclass

Kind = Literal["pictures", "video", "arrays", "synthetic"]


@dataclass(frozen=True)
class SourceInfo:
    """What is known about a source before its first frame.

    Attributes:
        name: for people and files: a file name, a folder's name, ``camera:0``. Never a password.
        live: frames come whether or not somebody reads them (cameras, streams).
        kind: what the frames are.
        frame_count: frames that it will give, stride included; None where nobody knows. For a
            video it is what the file's header claims, which is often wrong.
        fps: frames per second of media time that it gives, stride included; None without a clock.
        size_wh: width and height of the frames; None where they differ or are no pictures.
    """

    name: str
    live: bool
    kind: Kind
    frame_count: int | None
    fps: float | None
    size_wh: tuple[int, int] | None


class Source(Protocol):
    """Frames, read once from first to last; open the source again to read it again.

    A source is its own iterator. Where one item cannot be read, `next` raises SourceError and the
    next call goes on with the item after it; where nothing can follow (a video whose decoder
    died), that next call raises StopIteration. So a consumer that wants to skip broken items just
    calls `next` again.

    A frame's data stay valid and unchanged for as long as anybody holds them.
    """

    @property
    def info(self) -> SourceInfo:
        """What is known now. A video waits for its decoder here and may raise SourceError."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was odd and is worth telling, for people; complete after the last frame."""
        ...

    def __iter__(self) -> Iterator[Frame]:
        """Itself."""
        ...

    def __next__(self) -> Frame:
        """The next frame.

        Raises:
            SourceError: if this item cannot be read.
            StopIteration: after the last one, and after close().
        """
        ...

    def close(self) -> None:
        """Stop at once and free everything; a second call does nothing. Any thread may call it."""
        ...
