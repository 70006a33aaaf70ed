"""Frames made up: seeded noise, a gradient and moving shapes, the same in every run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from edgeinfer.errors import UsageError
from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.sources.base import SourceInfo
from edgeinfer.timing import now_ns

_DEFAULT_WH = (640, 480)
_MAX_SIDE = 16384
_FPS = 30.0
# Sixteen different frames, or fewer where they are large: this is not to measure page faults.
_FRAMES = 16
_BYTES = 64 << 20


class Synthetic:
    """An endless moving picture.

    A few frames are made beforehand and given round and round, so that a frame costs next to
    nothing; they are read-only, as they come again.
    """

    def __init__(self, size_wh: tuple[int, int]) -> None:
        width, height = size_wh
        count = max(2, min(_FRAMES, _BYTES // (width * height * 3)))
        self._frames = _make(width, height, count)
        self._index = 0
        self._closed = False
        self._info = SourceInfo(
            f"synthetic:{width}x{height}", False, "synthetic", None, _FPS, size_wh
        )

    @property
    def info(self) -> SourceInfo:
        return self._info

    @property
    def notes(self) -> tuple[str, ...]:
        return ()

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            raise StopIteration
        start = now_ns()
        index = self._index
        self._index += 1
        data = self._frames[index % len(self._frames)]
        ready = now_ns()
        identity = FrameId(
            self._info.name, index, round(index * 1e9 / _FPS), ready, self._info.size_wh
        )
        return Frame(identity, data, {"capture": ready - start})

    def close(self) -> None:
        self._closed = True


def _make(width: int, height: int, count: int) -> list[Array]:
    random = np.random.default_rng(20240501)
    ramp = np.linspace(40, 160, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    tint = np.array([1.0, 0.8, 0.6])
    noise = random.integers(0, 24, (height, width, 1))
    background = (ramp * tint + noise).astype(np.uint8)
    side_w, side_h = max(1, width // 6), max(1, height // 4)
    frames = []
    for turn in range(count):
        frame = background.copy()
        for at, color in enumerate(((40, 200, 240), (220, 90, 30), (90, 220, 60))):
            x = int((turn / count + at / 3) % 1 * max(1, width - side_w))
            y = int((at + 0.5) / 3 * max(0, height - side_h))
            frame[y : y + side_h, x : x + side_w] = color
        frame.flags.writeable = False
        frames.append(frame)
    return frames


def open_synthetic(text: str, size_wh: tuple[int, int] | None) -> Synthetic:
    """Open ``synthetic`` or ``synthetic:WxH``.

    Args:
        text: with or without a size.
        size_wh: the size where the text names none; 640x480 where neither does.

    Raises:
        UsageError: if the size is none.
    """
    _, colon, size = text.partition(":")
    if colon:
        match = re.fullmatch(r"(\d{1,5})[xX](\d{1,5})", size)
        if match is None:
            raise UsageError(f"'{text}' names no size. Write it as synthetic:1280x720.")
        size_wh = int(match[1]), int(match[2])
    width, height = size_wh or _DEFAULT_WH
    if not (0 < width <= _MAX_SIDE and 0 < height <= _MAX_SIDE):
        raise UsageError(
            f"Synthetic frames of {width}x{height} cannot be made: each side is 1 to {_MAX_SIDE}."
        )
    return Synthetic((width, height))
