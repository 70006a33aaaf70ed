"""What many samples of several processes say, and how sure that is.

Frames of one process are alike, and neighbours even more (clocks, caches, other processes). So
intervals resample processes, then blocks of neighbouring frames within each: the hierarchical
bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8) over
blocks (Carlstein 1986, https://doi.org/10.1214/aos/1176350057). Few processes make percentile
intervals too narrow; they are widened by sqrt(n / (n - 1)) and the t quantile over the normal one:
the expanded percentile interval (Hesterberg 2015, https://doi.org/10.1080/00031305.2015.1089789).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.timing import QUANTILES

Interval = tuple[float, float]
Values = NDArray[np.float64]
# From so few processes on their differences can be told apart from those of their frames.
MIN_PROCESSES = 5
RESAMPLES = 400
# More blocks than these in a process make an interval no better.
_BLOCKS = 50
# The 97.5% quantile of Student's t by degrees of freedom (Abramowitz and Stegun, table 26.10).
_T = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
_T.update({10: 2.228, 12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000})
_NORMAL = 1.960


def statable(count: int) -> dict[str, float]:
    """The quantiles that so many samples can state: n (1 - q) is 10 or more."""
    return {name: q for name, q in QUANTILES.items() if count * (1 - q) >= 10 - 1e-9}


def intervals(processes: Sequence[Sequence[int]], seed: int = 0) -> dict[str, Interval]:
    """95% intervals of the mean and of every quantile that may be stated.

    Args:
        processes: nanoseconds, in the order of the run, of each process.
        seed: of the drawing; the same samples give the same intervals.
    """
    filled = as_arrays(processes)
    names = statable(sum(map(len, filled)))
    if not names:
        return {}
    quantiles = list(names.values())
    values = np.concatenate(filled)
    least, most = float(values.min()), float(values.max())
    whole = figures(values, quantiles)
    drawn = resampled(filled, quantiles, seed)
    columns = zip(("mean", *names), whole, drawn.T, strict=True)
    # On logarithms, where what is above 0 stays so.
    found = {}
    for name, value, draws in columns:
        low, high = expanded(math.log(max(value, 1.0)), np.log(np.maximum(draws, 1.0)), len(filled))
        # What is widened may leave the samples, whose mean and quantiles never do.
        found[name] = (max(math.exp(low), least), min(math.exp(high), most))
    return found


def as_arrays(processes: Sequence[Sequence[int]]) -> list[Values]:
    """Those that have samples."""
    return [np.asarray(samples, np.float64) for samples in processes if len(samples)]


def figures(values: Values, quantiles: Sequence[float]) -> Values:
    """The mean, then quantiles by nearest rank (Hyndman and Fan 1996, type 1)."""
    found = np.quantile(values, quantiles, method="inverted_cdf")
    return np.concatenate([[values.mean()], found])


def resampled(processes: Sequence[Values], quantiles: Sequence[float], seed: int) -> Values:
    """`figures` of many resamples.

    Blocks are drawn as weights over samples that are sorted once, so that a hundred thousand of
    them take a fraction of a second.

    Args:
        processes: `(N_i,)` samples of each.

    Returns:
        `(R, 1 + len(quantiles))`.
    """
    random = np.random.default_rng(seed)
    counts, block_ids = _blocks(processes)
    values = np.concatenate(processes)
    order = np.argsort(values)
    ordered, ids = values[order], block_ids[order]
    sums = np.bincount(block_ids, values)
    sizes = np.bincount(block_ids)
    found = np.empty((RESAMPLES, 1 + len(quantiles)))
    for row in found:
        weights = _weights(counts, random)
        total = float(weights @ sizes)
        row[0] = weights @ sums / total
        reached = np.cumsum(weights[ids])
        ranks = np.ceil(np.asarray(quantiles) * total - 1e-9)
        row[1:] = ordered[np.searchsorted(reached, np.maximum(ranks, 1))]
    return found


def _blocks(processes: Sequence[Values]) -> tuple[list[int], NDArray[np.int64]]:
    """How many blocks each process has, and the block of each sample, numbered through; a block is
    as long as the square root of the number of samples, or longer where there are very many."""
    counts, ids, first = [], [], 0
    for samples in processes:
        count = len(samples)
        size = max(1, round(math.sqrt(count)), math.ceil(count / _BLOCKS))
        blocks = max(1, count // size)
        ids.append(first + np.minimum(np.arange(count) // size, blocks - 1))
        counts.append(blocks)
        first += blocks
    return counts, np.concatenate(ids)


def _weights(counts: Sequence[int], random: np.random.Generator) -> Values:
    """How often each block is drawn: processes with replacement, then blocks of each drawn one."""
    several = len(counts) > 1
    chosen = random.integers(0, len(counts), len(counts)) if several else np.zeros(1, np.int64)
    weights = [np.zeros(count) for count in counts]
    for index in chosen:
        count = counts[index]
        weights[index] += np.bincount(random.integers(0, count, count), minlength=count)
    return np.concatenate(weights)


def expanded(value: float, drawn: Values, processes: int) -> Interval:
    """The percentile interval of what was drawn, widened for few processes."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    factor = 1.0
    if processes > 1:
        # Two or three say next to nothing, as a report of them notes; ten times the width says
        # no more.
        count = max(processes, MIN_PROCESSES)
        factor = math.sqrt(count / (count - 1)) * student(count - 1) / _NORMAL
    return (
        float(min(value, value - factor * (value - low))),
        float(max(value, value + factor * (high - value))),
    )


def student(freedom: float) -> float:
    """The 97.5% quantile of Student's t; between the table's lines, the wider one."""
    known = [degrees for degrees in _T if degrees <= max(1.0, freedom)]
    return _T[max(known)]


def ratios(
    base: Sequence[Sequence[int]], new: Sequence[Sequence[int]], seed: int = 0
) -> dict[str, tuple[float, float, Interval]]:
    """Mean and quantiles of two runs: both values' ratio with its 95% interval.

    The two runs are drawn independently: their processes were no pairs.

    Args:
        base: samples of each process, above 0. new: the same of the other run.

    Returns:
        By name, those that both can state: the value of `base`, of `new`, and the interval of
        new / base.
    """
    ours, theirs = as_arrays(base), as_arrays(new)
    names = statable(min(sum(map(len, ours)), sum(map(len, theirs))))
    if not names:
        return {}
    quantiles = list(names.values())
    before = figures(np.concatenate(ours), quantiles)
    after = figures(np.concatenate(theirs), quantiles)
    drawn = np.log(resampled(theirs, quantiles, seed + 1) / resampled(ours, quantiles, seed))
    found = {}
    for index, name in enumerate(("mean", *names)):
        value = math.log(after[index] / before[index])
        low, high = expanded(value, drawn[:, index], min(len(ours), len(theirs)))
        interval = (math.exp(low), math.exp(high))
        found[name] = (float(before[index]), float(after[index]), interval)
    return found


def mean_ratio(base: Sequence[float], new: Sequence[float]) -> tuple[float, float, Interval]:
    """Geometric means of one figure per process, and the 95% interval of new / base (Welch 1947,
    https://doi.org/10.1093/biomet/34.1-2.28, on logarithms).

    Args:
        base: at least two values above 0. new: the same of the other run.
    """
    ours, theirs = np.log(np.asarray(base)), np.log(np.asarray(new))
    parts = [values.var(ddof=1) / len(values) for values in (ours, theirs)]
    value, spread = float(theirs.mean() - ours.mean()), math.sqrt(sum(parts))
    weighed = sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (ours, theirs), strict=True)
    )
    half = spread * student(sum(parts) ** 2 / weighed if weighed else 1e9)
    interval = (math.exp(value - half), math.exp(value + half))
    return math.exp(float(ours.mean())), math.exp(float(theirs.mean())), interval
