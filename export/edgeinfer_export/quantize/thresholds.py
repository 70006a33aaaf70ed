"""From what was seen of a tensor to the range that its 8 bits cover."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edgeinfer_export.quantize.histogram import BINS, Histogram

# What both tails together may lose; ONNX Runtime's and TensorRT's default.
_PERCENTILE = 99.999
# Levels of one side, as in TensorRT's entropy calibration.
_LEVELS = 128
_STEP = 16


def range_of(seen: Histogram, method: str) -> tuple[float, float]:
    """The range to cover, which holds zero, as zero must have a code of its own.

    Args:
        seen: at least one finite value.
        method: a name of `METHODS`.
    """
    if not math.isfinite(seen.low):
        return 0.0, 0.0
    low, high = METHODS[method](seen)
    return min(low, 0.0), max(high, 0.0)


def _minmax(seen: Histogram) -> tuple[float, float]:
    return seen.low, seen.high


def _percentile(seen: Histogram) -> tuple[float, float]:
    """Leave out the same share of values at both ends."""
    total = int(seen.counts.sum())
    if total == 0 or seen.limit == 0.0:
        return _minmax(seen)
    tail = total * (1 - _PERCENTILE / 100) / 2
    below = np.cumsum(seen.counts)
    edges = seen.edges
    low = edges[int(np.searchsorted(below, tail, side="right"))]
    high = edges[int(np.searchsorted(below, total - tail, side="left")) + 1]
    return max(seen.low, float(low)), min(seen.high, float(high))


def _entropy(seen: Histogram) -> tuple[float, float]:
    """Clip where the narrowed distribution tells most of the original one.

    Szymon Migacz, "8-bit Inference with TensorRT", GTC 2017: the threshold that minimizes the
    Kullback-Leibler divergence between a distribution clipped there and its 128 levels.
    """
    both = seen.counts[BINS // 2 :] + seen.counts[: BINS // 2][::-1]
    if both.sum() == 0 or seen.limit == 0.0:
        return _minmax(seen)
    # Values next to zero say nothing about clipping; a spike there (ReLU) would hide the rest.
    sides: NDArray[np.float64] = both.astype(np.float64)
    sides[0] = sides[1]
    last = int(np.flatnonzero(sides).max(initial=_LEVELS)) + 1
    ends = range(_LEVELS, last + _STEP, _STEP)
    best = min(ends, key=lambda end: _divergence(sides, min(end, BINS // 2)))
    threshold = seen.limit * min(best, BINS // 2) / (BINS // 2)
    return max(seen.low, -threshold), min(seen.high, threshold)


def _divergence(sides: NDArray[np.float64], end: int) -> float:
    """Kullback-Leibler divergence of the first bins, the rest clipped into them, to 128 levels."""
    original = sides[:end].copy()
    original[-1] += sides[end:].sum()
    level = np.arange(end) * _LEVELS // end
    filled = sides[:end] > 0
    sums = np.bincount(level, weights=sides[:end], minlength=_LEVELS)
    members = np.bincount(level, weights=filled, minlength=_LEVELS)
    narrowed = np.where(filled, (sums / np.maximum(members, 1))[level], 0.0)
    p, q = original / original.sum(), narrowed / max(narrowed.sum(), 1e-300)
    # Smoothing: where a clipped value fell on an empty bin, the divergence would be infinite.
    q = np.where((q == 0) & (p > 0), 1e-9, q)
    some = p > 0
    return float(np.sum(p[some] * np.log(p[some] / q[some])))


METHODS: Mapping[str, Callable[[Histogram], tuple[float, float]]] = MappingProxyType(
    {"minmax": _minmax, "percentile": _percentile, "entropy": _entropy}
)
