"""Synthetic frames for models that take more than a picture, or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edgeinfer.errors import InputError
from edgeinfer.frames import Array, Frame, FrameId
from edgeinfer.sources.base import SourceInfo
from edgeinfer.spec import TensorSpec
from edgeinfer.timing import now_ns

# Enough different frames that no cache of one answer goes unnoticed.
_COUNT = 16


class RandomArrays:
    """Seeded random arrays of every input's shape and type, never all zeros, without an end.

    Floats are uniform in [0, 1); integers and booleans are 0 or 1, which any table that they
    index has. A dimension that may vary is 1. A few are made beforehand and given round and round.
    """

    def __init__(self, inputs: tuple[TensorSpec, ...]) -> None:
        self.info = SourceInfo("synthetic", False, "synthetic", None, None, None)
        self.notes: tuple[str, ...] = ()
        random = np.random.default_rng(0)
        self._arrays: list[Mapping[str, Array]] = [
            {spec.name: _draw(random, spec) for spec in inputs} for _ in range(_COUNT)
        ]
        self._index = 0
        self._closed = False

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            raise StopIteration
        start = now_ns()
        arrays = self._arrays[self._index % _COUNT]
        ready = now_ns()
        identity = FrameId("synthetic", self._index, None, ready, None)
        self._index += 1
        return Frame(identity, arrays, {"capture": ready - start})

    def close(self) -> None:
        """End it."""
        self._closed = True


def _draw(random: np.random.Generator, spec: TensorSpec) -> Array:
    shape = tuple(size if isinstance(size, int) else 1 for size in spec.shape)
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError as error:
        raise InputError(
            f"The input '{spec.name}' is {spec.dtype}, which no frames can be made up for."
        ) from error
    if dtype.kind == "f":
        return random.random(shape, np.float32).astype(dtype)
    return random.integers(0, 2, shape).astype(dtype)
