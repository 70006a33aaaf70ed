"""Time alternatives against each other in one process, and say how sure the difference is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgeinfer.errors import UsageError
from edgeinfer.records import dataclass
from edgeinfer.timing import now_ns

_RESAMPLES = 2000


def interleave(
    alternatives: Mapping[str, Callable[[], None]],
    *,
    rounds: int,
    warmup: int,
    clock: Callable[[], int] = now_ns,
) -> Mapping[str, tuple[int, ...]]:
    """Call every alternative once per round, so that drift of the box hits all alike.

    The order rotates from round to round: none is always the one that runs first.

    Args:
        alternatives: what to call, by name.
        rounds: how many samples each gets.
        warmup: rounds before those, not kept.
        clock: monotonic nanoseconds.

    Returns:
        Nanoseconds by name; the samples at one position come from the same round.

    Raises:
        UsageError: if there is nothing to call or no round to measure.
    """
    if not alternatives or rounds < 1 or warmup < 0:
        raise UsageError(
            f"Cannot time {len(alternatives)} alternative(s) in {rounds} round(s) after {warmup} "
            f"of warm-up: at least 1, 1 and 0 are needed."
        )
    names = list(alternatives)
    calls = list(alternatives.values())
    order = list(range(len(names)))
    samples = [[0] * rounds for _ in names]
    for round_index in range(-warmup, rounds):
        for which in order:
            call = calls[which]
            start = clock()
            call()
            taken = clock() - start
            if round_index >= 0:
                samples[which][round_index] = taken
        order = order[1:] + order[:1]
    return {name: tuple(taken) for name, taken in zip(names, samples, strict=True)}


@dataclass(frozen=True)
class Ratio:
    """How much longer one alternative takes than another.

    Attributes:
        ratio: median over the rounds of new / base; 1.03 is 3% slower.
        low: lower end of the interval at `confidence`.
        high: upper end.
        rounds: how many pairs it rests on.
        confidence: the share of such intervals that hold the truth.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    confidence: float = 0.95

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 1."""
        return not self.low <= 1.0 <= self.high

    def to_dict(self) -> dict[str, object]:
        return {
            "ratio": self.ratio,
            "ci95" if self.confidence == 0.95 else "ci": [self.low, self.high],
            "rounds": self.rounds,
            "significant": self.significant,
        }


@dataclass(frozen=True)
class Difference:
    """How many nanoseconds longer one alternative takes than another: the median over the rounds.

    `low`, `high`, `rounds` and `confidence` are those of `Ratio`.
    """

    ns: float
    low: float
    high: float
    rounds: int
    confidence: float = 0.95


def ratio(
    base: Sequence[int],
    new: Sequence[int],
    *,
    block: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Ratio:
    """Compare samples that were taken in the same rounds.

    Neighbouring rounds are alike (clocks, caches, other processes), so whole runs of rounds are
    drawn instead of single ones: the moving block bootstrap, Künsch 1989,
    https://doi.org/10.1214/aos/1176347265. The interval is the percentile interval of the median.

    Args:
        base: nanoseconds, one per round.
        new: nanoseconds of the same rounds.
        block: rounds drawn together; by default the square root of their number.
        confidence: of the interval.
        seed: of the drawing; the same samples give the same interval.

    Raises:
        UsageError: if the two differ in length, are empty, or hold a sample that is not above 0.
    """
    _check_pairs(base, new)
    pairs = _positive(new) / _positive(base)
    low, high = _interval(pairs, block, confidence, seed)
    return Ratio(float(np.median(pairs)), low, high, len(pairs), confidence)


def quantile_ratio(
    base: Sequence[Sequence[int]],
    new: Sequence[Sequence[int]],
    q: float,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Ratio:
    """Compare a quantile of samples that were taken in blocks, a block of each in every round.

    Whole rounds are drawn, the same for both, as samples of one block are alike (the cluster
    bootstrap: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).

    Args:
        base: nanoseconds of each round's block. new: of the same rounds.
        q: between 0 and 1.

    Raises:
        UsageError: if the two differ in rounds, a block is empty, or a sample is not above 0.
    """
    _check_pairs([len(block) for block in base], [len(block) for block in new])
    pairs = [(_positive(a), _positive(b)) for a, b in zip(base, new, strict=True)]
    random = np.random.default_rng(seed)
    count = len(pairs)

    def at(rounds: NDArray[np.int64]) -> float:
        first = np.concatenate([pairs[index][0] for index in rounds])
        second = np.concatenate([pairs[index][1] for index in rounds])
        return float(np.quantile(second, q) / np.quantile(first, q))

    drawn = [at(random.integers(0, count, count)) for _ in range(_RESAMPLES // 4)]
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Ratio(at(np.arange(count)), float(low), float(high), count, confidence)


def difference(
    base: Sequence[int],
    new: Sequence[int],
    *,
    block: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Like `ratio`, for new - base in nanoseconds.

    Raises:
        UsageError: if the two differ in length or are empty.
    """
    _check_pairs(base, new)
    pairs = np.asarray(new, np.float64) - np.asarray(base, np.float64)
    low, high = _interval(pairs, block, confidence, seed)
    return Difference(float(np.median(pairs)), low, high, len(pairs), confidence)


def _check_pairs(base: Sequence[int], new: Sequence[int]) -> None:
    if len(base) != len(new) or not base:
        raise UsageError(
            f"Paired samples must be of one length and at least 1; these are {len(base)} and "
            f"{len(new)}: take them with interleave()."
        )


def _positive(samples: Sequence[int]) -> NDArray[np.float64]:
    values = np.asarray(samples, np.float64)
    if values.min() <= 0:
        raise UsageError(
            f"A sample is {int(values.min())} ns: durations of 0 cannot be compared; time more "
            f"work per call."
        )
    return values


def _interval(
    pairs: NDArray[np.float64], block: int | None, confidence: float, seed: int
) -> tuple[float, float]:
    """Percentile interval of the median under the moving block bootstrap."""
    n = len(pairs)
    size = min(n, block or max(1, round(math.sqrt(n))))
    # The series is closed to a ring, so that rounds at its ends are drawn as often as the others.
    ring = np.concatenate([pairs, pairs[: size - 1]])
    random = np.random.default_rng(seed)
    offsets = np.arange(size)
    medians = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):
        starts = random.integers(0, n, math.ceil(n / size))
        medians[index] = np.median(ring[(starts[:, None] + offsets).ravel()[:n]])
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, [tail, 1 - tail])
    return float(low), float(high)
