"""Random arrivals (Poisson), and the highest rate at which 99 in 100 are answered in time.

The rate is sought in the first process by bisection and measured in all of them. A rate passes
where so few of its frames are late that the true share is below 1% with 95% confidence, as in the
early stopping of MLPerf LoadGen (https://arxiv.org/abs/1911.02549, section III-D): else a lucky
trial would end as a promise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import DEFAULT_FRAMES, BenchOptions
from edgeinfer_bench.order import Order, Turn
from edgeinfer_bench.recorder import late
from edgeinfer_bench.scenarios.base import Part, Progress, within

QUANTILE = 0.99
_REFERENCE = Order(frames=50, duration_ns=2_000_000_000)
_DEFAULT_FACTOR = 3.0
_TRIALS = 12
# A trial lasts no longer, unless it takes that to have frames enough.
_TRIAL_S = 60.0
# Fewer can hold no rate with that confidence, however few are late.
_LEAST_FRAMES = 300
# A rate that misses by less is tried again: one hiccup of the box is no limit of the model.
_CLOSE = 0.03
# At this share of what the lanes can do frames hardly ever wait for another: those that are late
# then are so by themselves, at any rate.
_LOWEST_SHARE = 1 / 16
# Rates that differ by less are the same to a user.
_FINE = 1.03
_CONFIDENCE = 0.95
# The search may use up most of the time, the measurement of what it found the rest.
_SEARCH_SHARE = 0.75


@dataclass
class _Search:
    """What was tried for one model.

    Attributes:
        low: the highest rate that held, 0: none yet. high: the lowest that did not.
        lowest: where that one did not hold either, none is sought below.
    """

    target_ns: int
    low: float
    high: float
    lowest: float
    trials: list[dict[str, Any]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        if len(self.trials) >= _TRIALS:
            return True
        return self.high / self.low < _FINE if self.low else self.high <= self.lowest

    def next_rate(self) -> float:
        """Half-way; where nothing has held yet, half of what did not."""
        return math.sqrt(self.low * self.high) if self.low else self.high / 2


class Server:
    """Open loop with random arrivals."""

    def __init__(self, options: BenchOptions) -> None:
        self._options = options
        self._found: dict[str, _Search] = {}
        self._seed = 0
        self._target_ns = None if options.target_ms is None else round(options.target_ms * 1e6)
        self.block: int | None = None

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        for number, bout in enumerate(bouts):
            if bout.label not in self._found:
                self._search(bout, within(progress, number, len(bouts)))
            search = self._found[bout.label]
            if search.low and not bout.over:
                bout.measure(self._order(search.low, part.frames, part.duration_ns))
        progress(1.0)

    def _search(self, bout: Bout, progress: Progress) -> None:
        bout.reference = bout.try_order(_REFERENCE)
        taken = [value for value in bout.reference.samples_ns.get("latency", ()) if value]
        usual = median(taken or [10_000_000])
        if self._target_ns is None:  # of the first model: the others are held to the same
            self._target_ns = round(_DEFAULT_FACTOR * usual)
        target_ns = self._target_ns
        # More than the lanes can do without a pause cannot be held for long.
        most = 1e9 / usual * bout.know.lanes
        lowest = most / 2 if target_ns < usual else most * _LOWEST_SHARE
        search = _Search(target_ns, 0.0, most, lowest)
        self._found[bout.label] = search
        while not search.over and not bout.over:
            rate = search.next_rate()
            held = self._try(bout, rate, search) or (
                search.trials[-1]["late"] < _CLOSE * search.trials[-1]["frames"]
                and not bout.over
                and self._try(bout, rate, search)
            )
            search.low, search.high = (rate, search.high) if held else (search.low, rate)
            progress(min(1.0, len(search.trials) / _TRIALS) * _SEARCH_SHARE)

    def _try(self, bout: Bout, rate: float, search: _Search) -> bool:
        limit_s = self._options.duration_s or _TRIAL_S
        wanted = min(self._options.frames or DEFAULT_FRAMES, round(rate * limit_s))
        frames = max(_LEAST_FRAMES, wanted)
        order = self._order(rate, frames, None, search.target_ns, allowed(frames))
        turn = bout.try_order(order)
        held = judge_trial(turn, search.target_ns)
        search.trials.append(_trial(rate, turn, search.target_ns, held))
        return held

    def _order(
        self,
        rate: float,
        frames: int | None,
        duration_ns: int | None,
        limit_ns: int | None = None,
        most: int = 0,
    ) -> Order:
        self._seed += 1
        return Order(
            kind="open-loop",
            frames=frames,
            duration_ns=duration_ns,
            interval_ns=round(1e9 / rate),
            seed=self._seed,
            give_up_over_ns=limit_ns,
            give_up_after=most,
        )

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        search = self._found.get(label)
        if search is None:
            return {"lanes": lanes}
        return {
            "rate": search.low,
            "rate_failed": search.high,
            "target_ns": search.target_ns,
            "quantile": QUANTILE,
            "lanes": lanes,
            "trials": search.trials,
        }


def allowed(frames: int) -> int:
    """The most late frames of so many that leave the true share below 1% with 95% confidence;
    -1 where even none would not (fewer than 299 frames)."""
    share, total, count = 1 - QUANTILE, 0.0, -1
    for number in range(frames + 1):
        total += math.exp(
            math.lgamma(frames + 1)
            - math.lgamma(number + 1)
            - math.lgamma(frames - number + 1)
            + number * math.log(share)
            + (frames - number) * math.log1p(-share)
        )
        if total > 1 - _CONFIDENCE:
            break
        count = number
    return count


def judge_trial(turn: Turn, target_ns: int) -> bool:
    """Whether so few frames were late that the rate holds."""
    return turn.error is None and late(turn.samples_ns, target_ns) <= allowed(turn.frames)


def _trial(rate: float, turn: Turn, target_ns: int, held: bool) -> dict[str, Any]:
    ages = sorted(age for age in turn.samples_ns.get("age", ()) if age is not None)
    at = math.ceil(QUANTILE * len(ages)) - 1
    return {
        "rate": rate,
        "frames": turn.frames,
        "late": late(turn.samples_ns, target_ns),
        "age_p99_ns": ages[at] if len(ages) >= DEFAULT_FRAMES else None,
        "held": held,
    }
