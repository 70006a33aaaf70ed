"""Candidates measured in turns, the slow ones let go early.

Successive halving (Jamieson and Talwalkar, https://arxiv.org/abs/1502.07943) over blocks of frames
that all living candidates measure once a round, in an order that rotates: what drifts (clocks,
heat, neighbours) hits all alike, so that ratios of one round hold where times do not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from statistics import median
from typing import Protocol

from edgeinfer.errors import EdgeInferError
from edgeinfer.measure import quantile_ratio, ratio
from edgeinfer.records import dataclass
from edgeinfer.timing import quantile

# After so many rounds, who is surely that much slower than the best is let go. Early on only the
# hopeless: three blocks tell little.
_RUNGS = {2: 1.5, 3: 1.25, 6: 1.08, 10: 1.03, 16: 1.02, 24: 1.02, 36: 1.02, 54: 1.02}
# The one that is held goes only for this, and by no fewer rounds: two may fall into one busy
# moment.
_HELD_TO = 2.0
_HELD_ROUNDS = 3
# Who is worse by less is the same to a user, and the simpler is taken: by the first in any case,
# by the second where the measurement cannot tell.
_SAME = 1.01
_TIE = 1.02
_QUANTILES = (0.99, 0.95, 0.9, 0.5)


@dataclass(frozen=True)
class Block:
    """What one candidate measured in its turn.

    Attributes:
        cost_ns: nanoseconds (or, for efficiency, CPU-nanoseconds or nanojoules) a frame: less is
            better.
        samples_ns: latency of each frame, where frames were timed one by one.
        cpu_ns: processor time a frame of the whole process.
    """

    cost_ns: int
    samples_ns: tuple[int, ...] = ()
    cpu_ns: int = 0


class Contestant(Protocol):
    """One that can measure a block of frames."""

    @property
    def name(self) -> str: ...

    def block(self) -> Block:
        """Measure a block.

        Raises:
            EdgeInferError: if it cannot go on; it is then out.
        """
        ...


@dataclasses.dataclass
class Standing:
    """How a contestant did.

    Attributes:
        blocks: one of each round that it took part in.
        out: why it was let go, None while it is in. failed: whether it broke down.
    """

    blocks: list[Block] = field(default_factory=list)
    out: str | None = None
    failed: bool = False

    @property
    def cost_ns(self) -> float:
        """Median of its blocks."""
        return median(block.cost_ns for block in self.blocks)


def race(
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    until: Callable[[], bool] = lambda: False,
    keep: int = 1,
    spare: float = 1.0,
    hold: str | None = None,
    tell: Callable[[int], None] = lambda done: None,
) -> Mapping[str, Standing]:
    """Let contestants measure in turns until one is left, the rounds are over or time is up.

    Args:
        until: whether time is up; asked before every round, and no candidate is judged by fewer
            than two rounds.
        keep: so many are never let go. spare: nor who is slower by less than this factor.
        hold: nor the one of this name unless it is surely more than twice as slow as the best.
        tell: called with the number of rounds done.
    """
    standings = {one.name: Standing() for one in contestants}
    order = list(contestants)
    for done in range(rounds):
        if done >= 2 and until():
            break
        living = [one for one in order if standings[one.name].out is None]
        if not living or (done >= 2 and len(living) <= 1 and len(contestants) > 1):
            break
        for one in living:
            standing = standings[one.name]
            try:
                standing.blocks.append(one.block())
            except EdgeInferError as error:
                standing.out, standing.failed = f"measuring it failed: {error}", True
        order = order[1:] + order[:1]
        if done + 1 in _RUNGS:
            _let_go(standings, max(spare, _RUNGS[done + 1]), keep, hold)
        tell(done + 1)
    return standings


def _let_go(standings: Mapping[str, Standing], margin: float, keep: int, hold: str | None) -> None:
    held = standings.get(hold) if hold is not None else None
    living = [item for item in standings.values() if item.out is None and item.blocks]
    ranked = sorted(living, key=lambda item: item.cost_ns)
    for standing in ranked[max(1, keep) :]:
        best = ranked[0]
        if standing is held and len(standing.blocks) < _HELD_ROUNDS:
            continue
        compared = ratio(costs(best), costs(standing))
        if compared.low > (max(margin, _HELD_TO) if standing is held else margin):
            standing.out = f"{compared.ratio:.2f} times the cost of the best"


def costs(standing: Standing) -> list[int]:
    """The cost of each of its blocks."""
    return [block.cost_ns for block in standing.blocks]


def statable(standings: Sequence[Standing]) -> float:
    """The highest quantile that the samples of all of them allow (edgeinfer.timing), else 0.5."""
    counts = [sum(len(block.samples_ns) for block in item.blocks) for item in standings]
    fewest = min(counts, default=0)
    for q in _QUANTILES:
        if quantile(range(fewest), q) is not None:
            return q
    return 0.5


def choose(standings: Mapping[str, Standing], simplicity: Mapping[str, float], q: float) -> str:
    """The name of the winner.

    Whoever is within noise of the best tail is in; among those the median counts; who is within 1%
    of the best median there, or within 2% and not surely slower, is a tie: the simplest wins.

    Args:
        standings: of those that were measured in the same rounds to the end.
        simplicity: by name: the lower, the nearer to what runs without a plan.
        q: quantile that the tail is judged by; 0.5 where blocks have one cost each.
    """
    names = list(standings)
    if q > 0.5:
        blocks = {name: [b.samples_ns for b in standings[name].blocks] for name in names}
        tails = {name: _pooled(blocks[name], q) for name in names}
        best = min(names, key=lambda name: tails[name])
        names = [
            name
            for name in names
            if tails[name] <= _TIE * tails[best]
            or quantile_ratio(blocks[best], blocks[name], q).low <= 1.0
        ]
    best = min(names, key=lambda name: standings[name].cost_ns)
    tied = [
        name
        for name in names
        if standings[name].cost_ns <= _SAME * standings[best].cost_ns
        or (
            standings[name].cost_ns <= _TIE * standings[best].cost_ns
            and ratio(costs(standings[best]), costs(standings[name])).low <= 1.0
        )
    ]
    return min(tied, key=lambda name: (simplicity[name], standings[name].cost_ns))


def relative(races: Sequence[Mapping[str, Standing]], base: str, new: str) -> float | None:
    """How many times the cost of one the other had, through whoever raced with both.

    Costs of two races are never compared: the box may have changed in between. Ratios of rounds
    that were shared are multiplied, over as few races as it takes.

    Args:
        races: what is to be trusted most first.

    Returns:
        None where nothing links the two.
    """
    known = {base: 1.0}
    while new not in known:
        reached: dict[str, float] = {}
        for standings in races:
            for name in [name for name in standings if name in known]:
                for other, standing in standings.items():
                    shared = min(len(standings[name].blocks), len(standing.blocks))
                    if other in known or other in reached or not shared:
                        continue
                    pair = ratio(costs(standings[name])[:shared], costs(standing)[:shared])
                    reached[other] = known[name] * pair.ratio
        if not reached:
            return None
        known.update(reached)
    return known[new]


def _pooled(blocks: Sequence[Sequence[int]], q: float) -> float:
    ordered = sorted(sample for block in blocks for sample in block)
    return float(quantile(ordered, q) or ordered[-1])
