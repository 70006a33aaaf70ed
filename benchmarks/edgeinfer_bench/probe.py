"""Do results come from a cache? The same frame a second time must take as long as the first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import median

import numpy as np

from edgeinfer.frames import Array, Frame
from edgeinfer_bench.loops.bench import Bench

_PAIRS = 8
# No frame of a source has such a number: what is kept by number is not there yet.
_FIRST_INDEX = 1 << 40
# A model that answers in half the time, and by more than a clock and a cold cache explain.
_SHARE = 0.5
_LEAST_NS = 50_000


def take_pairs(bench: Bench) -> tuple[list[int], list[int]]:
    """Latencies of frames that nobody has seen, and of the same frames right after.

    Nothing for models that carry state: their second answer is another one.
    """
    if bench.first is None or bench.model.spec.carries:
        return [], []
    random, lane = np.random.default_rng(7), bench.lanes[0]
    fresh, again = [], []
    for number in range(_PAIRS):
        frame = varied(bench.first[0], _FIRST_INDEX + number, random)
        # While the noise was made threads fell asleep: it is not the new frame that wakes them.
        lane.predict(bench.first[0])
        fresh.append(lane.predict(frame).latency_ns)
        again.append(lane.predict(frame).latency_ns)
    return fresh, again


def from_cache(fresh_ns: Sequence[int], again_ns: Sequence[int]) -> bool:
    """Whether seen frames are answered so much sooner that they cannot have been computed."""
    if not fresh_ns or not again_ns:
        return False
    # Other programs make a frame slower, never quicker: what is computed takes at least as long as
    # the quicker ones of the new frames.
    new, old = sorted(fresh_ns)[len(fresh_ns) // 4], median(again_ns)
    return old < _SHARE * new and new - old > _LEAST_NS


def varied(frame: Frame, index: int, random: np.random.Generator) -> Frame:
    """The frame with a little noise, under another number."""
    data = frame.data
    identity = dataclasses.replace(frame.id, index=index)
    if isinstance(data, np.ndarray):
        return dataclasses.replace(frame, id=identity, data=_noisy(data, random))
    arrays = {name: _noisy(np.asarray(array), random) for name, array in data.items()}
    return dataclasses.replace(frame, id=identity, data=arrays)


def _noisy(array: Array, random: np.random.Generator) -> Array:
    if array.dtype == np.uint8:
        noise = random.integers(0, 4, array.shape, np.uint8)
        return np.asarray(array ^ noise, np.uint8)
    if np.issubdtype(array.dtype, np.floating):
        noise = 1 + 0.01 * random.standard_normal(array.shape)
        return np.asarray(array * noise, array.dtype)
    # Numbers that stand for something stay among themselves.
    return np.asarray(random.permutation(array.ravel()).reshape(array.shape), array.dtype)
