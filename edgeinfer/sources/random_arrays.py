"""Synthetic frames for models that take no pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.sources.base import SourceInfo
from edgeinfer.spec import TensorSpec
from edgeinfer.timing import now_ns

# Enough different frames that no cache of one answer goes unnoticed.
_COUNT = 16


class RandomArrays:
    """Seeded random arrays of every input's shape and type, never all zeros.

    Floats are uniform in [0, 1); integers and booleans are 0 or 1, which any table that they
    index has. A dimension that may vary is 1.
    """

    def __init__(self, inputs: tuple[TensorSpec, ...]) -> None:
        self.info = SourceInfo("synthetic", False, "synthetic", _COUNT, None, None)
        self.notes: tuple[str, ...] = ()
        self._inputs = inputs
        self._random = np.random.default_rng(0)
        self._index = 0

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._index >= _COUNT:
            raise StopIteration
        start = now_ns()
        arrays: Mapping[str, Array] = {
            spec.name: _draw(self._random, spec) for spec in self._inputs
        }
        ready = now_ns()
        identity = FrameId("synthetic", self._index, None, ready, None)
        self._index += 1
        return Frame(identity, arrays, {"capture": ready - start})

    def close(self) -> None:
        """End it; nothing is held."""
        self._index = _COUNT


def _draw(random: np.random.Generator, spec: TensorSpec) -> Array:
    shape = tuple(size if isinstance(size, int) else 1 for size in spec.shape)
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return random.random(shape, np.float32).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
