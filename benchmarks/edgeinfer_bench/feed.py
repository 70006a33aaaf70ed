"""Frames one by one, from the start again when a recording ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.errors import SourceError
from edgeinfer.frames import Frame
from edgeinfer.sources import Source


class Feed:
    """Reads a source frame by frame and opens it again at its end.

    Reading happens between the frames' latencies. A live source that ends is not opened again.

    Args:
        open_again: gives the source, each time from its first frame.

    Attributes:
        loops: how often it was opened again.
        notes: what the source found odd.
    """

    def __init__(self, open_again: Callable[[], Source]) -> None:
        self._open_again = open_again
        self._source = open_again()
        self._in_lap = 0
        self.loops = 0
        self.notes: dict[str, None] = {}
        self.info = self._source.info

    def next(self) -> Frame | None:
        """The next frame, or None when a live source has ended.

        Raises:
            SourceError: if the source has no frame at all, or fails.
        """
        frame = next(self._source, None)
        if frame is None:
            if self._in_lap == 0:
                raise SourceError(
                    f"The source {self.info.name} gave no frame: nothing can be measured; check "
                    f"that it holds pictures or video."
                )
            if self.info.live:
                return None
            self._rewind()
            return self.next()
        self._in_lap += 1
        return frame

    def _rewind(self) -> None:
        self.close()
        self._source = self._open_again()
        self._in_lap = 0
        self.loops += 1

    def close(self) -> None:
        """Close the source; a second call does nothing."""
        self.notes |= dict.fromkeys(self._source.notes)
        self._source.close()

    def to_dict(self) -> dict[str, Any]:
        """What was read, for the report."""
        info = self.info
        return {
            "name": info.name,
            "kind": info.kind,
            "live": info.live,
            "frame_count": info.frame_count,
            "size_wh": None if info.size_wh is None else list(info.size_wh),
            "loops": self.loops,
        }


def keep(frame: Frame) -> Frame:
    """A copy, so that a decoder with few buffers gets its own back."""
    data = frame.data
    if isinstance(data, np.ndarray):
        return Frame(frame.id, data.copy(), dict(frame.stages_ns), frame.to_origin)
    arrays = {name: np.array(array) for name, array in data.items()}
    return Frame(frame.id, arrays, dict(frame.stages_ns), frame.to_origin)
