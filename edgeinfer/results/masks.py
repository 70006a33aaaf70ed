"""Masks of single objects, and COCO's run-length encoding of them.

The encoding is that of `maskApi.c` in https://github.com/cocodataset/cocoapi: lengths of runs of
zeros and ones by turns, beginning with zeros, column by column; `counts` is their compressed form,
which `pycocotools.mask.decode` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeinfer.records import dataclass

_BITS, _MORE, _SIGN = 0x1F, 0x20, 0x10
_BASE = 48  # the letter that stands for 0


@dataclass(frozen=True, eq=False)
class Mask:
    """The pixels of one object, cut out of the frame.

    Attributes:
        corner_xy: where the cut's first pixel lies in the frame.
        pixels: `(h, w)` bool; what lies outside is not set.
        frame_wh: the frame's size.
    """

    corner_xy: tuple[int, int]
    pixels: NDArray[np.bool_]
    frame_wh: tuple[int, int]

    @property
    def area(self) -> int:
        """Pixels that are set."""
        return int(np.count_nonzero(self.pixels))

    def whole(self) -> NDArray[np.bool_]:
        """`(H, W)` bool over the whole frame."""
        width, height = self.frame_wh
        whole = np.zeros((height, width), bool)
        x, y = self.corner_xy
        rows, columns = self.pixels.shape
        whole[y : y + rows, x : x + columns] = self.pixels
        return whole

    def to_dict(self) -> dict[str, Any]:
        """COCO's compressed form: ``{"size": [height, width], "counts": "..."}``."""
        width, height = self.frame_wh
        return {"size": [height, width], "counts": compress(self._runs())}

    def _runs(self) -> NDArray[np.int64]:
        """Lengths of runs over the whole frame, worked out on the cut alone."""
        width, height = self.frame_wh
        x, y = self.corner_xy
        # One row of zeros above and below makes every run begin and end inside its column.
        padded = np.pad(self.pixels.T.astype(np.int8), ((0, 0), (1, 1)))
        steps = np.diff(padded, axis=1)
        columns, rows = np.nonzero(steps)
        edges = (columns + x) * height + rows + y
        # A run that reaches the bottom goes on at the top of the next column.
        joined = np.flatnonzero(edges[1:-1:2] == edges[2::2]) * 2 + 1
        edges = np.delete(edges, np.concatenate((joined, joined + 1)))
        bounds = np.concatenate(([0], edges, [width * height]))
        runs = np.diff(bounds)
        return runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs


def rle_encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """The compressed form of an `(H, W)` mask."""
    return Mask((0, 0), mask, (mask.shape[1], mask.shape[0])).to_dict()


def compress(runs: NDArray[np.int64]) -> str:
    """COCO's letters for lengths of runs: from the fourth on, the difference to the one before
    the last is written, in groups of five bits, lowest first."""
    values = runs.copy()
    values[3:] -= runs[1:-2]
    letters = bytearray()
    for value in values.tolist():
        more = True
        while more:
            group = value & _BITS
            value >>= 5
            more = value != -1 if group & _SIGN else value != 0
            letters.append((group | _MORE if more else group) + _BASE)
    return letters.decode("ascii")


def rle_decode(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """An `(H, W)` mask from either form: `counts` as letters, or as a list of lengths.

    Raises:
        ValueError: if the runs do not fill the mask.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    runs = _expand(counts) if isinstance(counts, (str, bytes)) else list(counts)
    if sum(runs) != height * width or min(runs, default=0) < 0:
        raise ValueError(f"the runs fill {sum(runs)} pixels, the mask has {height * width}")
    values = np.arange(len(runs)) % 2 == 1
    mask: NDArray[np.bool_] = np.repeat(values, runs).reshape(width, height).T
    return mask


def _expand(letters: str | bytes) -> list[int]:
    data = letters.encode("ascii") if isinstance(letters, str) else letters
    runs: list[int] = []
    value = shift = 0
    for letter in data:
        group = letter - _BASE
        value |= (group & _BITS) << shift
        shift += 5
        if group & _MORE:
            continue
        if group & _SIGN:
            value |= -1 << shift
        runs.append(value + runs[-2] if len(runs) > 2 else value)
        value = shift = 0
    return runs
