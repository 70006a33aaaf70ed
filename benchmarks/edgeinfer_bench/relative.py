"""How much longer one model takes than another that ran in turns with it.

Drift of the box hits both alike, so turns of one round are compared and the rest is left out. What
differs from process to process (the layout of memory, above all) hits them differently: intervals
resample pairs of processes, then rounds, see `stats`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median

import numpy as np

from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.stats import RESAMPLES, Values, expanded

# Below this many rounds an interval says nothing.
_MIN_ROUNDS = 5
# Of two or three pairs, one in ten differs as much by chance.
_MIN_PROCESSES = 4
# Models whose times differ by less are the same to a user; where things lie in memory does more.
SAME = 0.01


@dataclass(frozen=True)
class Versus:
    """Times of a model over those of the first.

    Attributes:
        ratio: 1.03 is 3% slower. low, high: its 95% interval.
        processes: pairs that it rests on. rounds: of turns, in all of them.
    """

    ratio: float
    low: float
    high: float
    processes: int
    rounds: int

    @property
    def significant(self) -> bool:
        """Whether the two differ: the interval leaves out 1, the ratio is off by 1% or more, and
        there are processes enough to know how one differs from the next."""
        apart = not self.low <= 1.0 <= self.high and abs(self.ratio - 1) >= SAME
        return apart and self.processes >= _MIN_PROCESSES

    @property
    def verdict(self) -> str:
        """``same``, ``faster``, ``slower`` or ``inconclusive``."""
        if self.significant:
            return "slower" if self.ratio > 1 else "faster"
        near = self.low >= 1 - 3 * SAME and self.high <= 1 + 3 * SAME
        return "same" if near else "inconclusive"

    def to_dict(self) -> dict[str, object]:
        return {
            "ratio": self.ratio,
            "ci95": [self.low, self.high],
            "processes": self.processes,
            "rounds": self.rounds,
            "significant": self.significant,
            "verdict": self.verdict,
        }


def relative(base: BenchResult, new: BenchResult) -> Versus | None:
    """Compare two results of one interleaved run.

    Returns:
        None where the two did not run in turns or had too few.
    """
    if base.scenario not in _COSTS or base.block is None or base.block != new.block:
        return None
    pairs = [
        pair
        for ours, theirs in zip(base.replicates, new.replicates, strict=False)
        if len(pair := _log_ratios(ours, theirs, base.scenario)) > 0
    ]
    count = sum(map(len, pairs))
    if count < _MIN_ROUNDS:
        return None
    value = _middle(pairs)
    random = np.random.default_rng(0)
    drawn = np.array([_middle(_drawn(pairs, random)) for _ in range(RESAMPLES)])
    low, high = expanded(value, drawn, len(pairs))
    return Versus(math.exp(value), math.exp(low), math.exp(high), len(pairs), count)


def _middle(pairs: list[Values]) -> float:
    return mean(float(np.median(pair)) for pair in pairs)


def _drawn(pairs: list[Values], random: np.random.Generator) -> list[Values]:
    several = len(pairs) > 1
    chosen = random.integers(0, len(pairs), len(pairs)) if several else [0]
    return [random.choice(pairs[index], len(pairs[index])) for index in chosen]


def _log_ratios(base: Replicate, new: Replicate, scenario: str) -> Values:
    """Of each round that both measured."""
    cost = _COSTS[scenario]
    ours, theirs = cost(base), cost(new)
    both = [(a, b) for a, b in zip(ours, theirs, strict=False) if a > 0 and b > 0]
    return np.array([math.log(b / a) for a, b in both], np.float64)


def _latencies(replicate: Replicate) -> list[float]:
    return [median(turn) if turn else 0.0 for turn in replicate.by_turn("latency")]


def _ages(replicate: Replicate) -> list[float]:
    return [median(turn) if turn else 0.0 for turn in replicate.by_turn("age")]


def _times(replicate: Replicate) -> list[float]:
    """Nanoseconds per frame."""
    turns = zip(replicate.turns, replicate.turns_ns, strict=True)
    return [spent / frames if frames else 0.0 for frames, spent in turns]


_COSTS: dict[str, Callable[[Replicate], list[float]]] = {
    "single": _latencies,
    "paced": _ages,
    "offline": _times,
}


def relatives(report: Report) -> tuple[Versus | None, ...]:
    """Each result of a report against its first; None for the first and where it cannot be said."""
    first = report.results[0]
    return (None, *(relative(first, result) for result in report.results[1:]))
