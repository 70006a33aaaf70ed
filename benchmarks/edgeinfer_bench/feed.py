"""Frames one by one, with nothing else at work while they are measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from edgeinfer.errors import SourceError
from edgeinfer.frames import Frame
from edgeinfer.sources import Source
from edgeinfer.timing import now_ns

# What of a recording is held in memory; 48 frames of 1280x720.
_KEPT_BYTES = 128 << 20
# Of frames that are made up, and have no end.
_KEPT_SYNTHETIC = 32


class Feed:
    """Gives a source's frames in turn, from the first again when they end.

    A recording is read before anything is measured, as much of it as fits into 128 MiB, because a
    decoder that works beside the model would be measured with it; of synthetic frames, 32. Live
    sources are read frame by frame, and one that ends has ended.

    Args:
        source: closed by `close`.
        clock: monotonic nanoseconds; a frame is ready when it is handed out.
        most: frames that are held at most.

    Attributes:
        loops: how often the frames began again.
        kept: how many frames are held, None for live sources.
        whole: whether those are all that it has.
        notes: what the source found odd.

    Raises:
        SourceError: if a recording has no frame at all, or cannot be read.
    """

    def __init__(
        self, source: Source, clock: Callable[[], int] = now_ns, most: int | None = None
    ) -> None:
        self._source = source
        self._clock = clock
        self._most = most
        self.info = source.info
        self.loops = 0
        self.whole = True
        self._position = 0
        self._frames: list[Frame] = []
        if not self.info.live:
            self._read()
        self.kept = len(self._frames) or None

    def _read(self) -> None:
        held = 0
        for frame in self._source:
            self._frames.append(keep(frame))
            held += _bytes_of(frame)
            made_up = self.info.kind == "synthetic" and len(self._frames) >= _KEPT_SYNTHETIC
            if held >= _KEPT_BYTES or made_up or len(self._frames) == self._most:
                self.whole = next(self._source, None) is None
                break
        self._source.close()
        if not self._frames:
            raise SourceError(
                f"The source {self.info.name} gave no frame: nothing can be measured; check that "
                f"it holds pictures or video."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What the source found odd."""
        return self._source.notes

    def next(self, ready_ns: int | None = None) -> Frame | None:
        """The next frame, or None when a live source has ended.

        Args:
            ready_ns: when it came; None: now.

        Raises:
            SourceError: if reading fails.
        """
        if not self._frames:
            frame = next(self._source, None)
            if frame is None:
                return None
        else:
            if self._position == len(self._frames):
                self._position = 0
                self.loops += 1
            frame = self._frames[self._position]
            self._position += 1
        came = self._clock() if ready_ns is None else ready_ns
        return dataclasses.replace(frame, id=dataclasses.replace(frame.id, ready_ns=came))

    def close(self) -> None:
        """Close the source; a second call does nothing."""
        self._source.close()
        self._frames.clear()

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
            "kept": self.kept,
        }


def _bytes_of(frame: Frame) -> int:
    if isinstance(frame.data, np.ndarray):
        return frame.data.nbytes
    return sum(array.nbytes for array in frame.data.values())


def keep(frame: Frame) -> Frame:
    """A copy, so that a decoder with few buffers gets its own back."""
    data = frame.data
    if isinstance(data, np.ndarray):
        return Frame(frame.id, data.copy(), dict(frame.stages_ns), frame.to_origin)
    arrays = {name: np.array(array) for name, array in data.items()}
    return Frame(frame.id, arrays, dict(frame.stages_ns), frame.to_origin)
