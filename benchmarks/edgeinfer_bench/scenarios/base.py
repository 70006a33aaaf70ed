"""What a scenario is, and how a run is shared out to its replicates and turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from edgeinfer_bench.bout import Bout
from edgeinfer_bench.options import BenchOptions

Progress = Callable[[float], None]
# A turn that is long enough to be measured, short enough that drift hits all alike: clocks and
# neighbours change within tenths of a second.
_TURN_NS = 25_000_000
_LEAST_IN_A_TURN = 3
# Idle threads of a session wait busily for about 40 ms after its last frame.
SETTLE_NS = 100_000_000
_MOST_IN_A_TURN = 500


@dataclass(frozen=True)
class Part:
    """A replicate's share of a run.

    Attributes:
        index: of the replicate, from 0.
        frames: at most, None for no limit. duration_ns: of measuring, per model.
    """

    index: int
    frames: int | None
    duration_ns: int | None

    @staticmethod
    def of(options: BenchOptions, index: int) -> Part:
        """Frames and seconds are shared out evenly; what is left over goes to the first."""
        count, frames = options.replicates, options.max_frames
        share = None if frames is None else frames // count + (index < frames % count)
        seconds = options.max_duration_s
        return Part(index, share, None if seconds is None else round(seconds / count * 1e9))


class Scenario(Protocol):
    """Measures warmed-up bouts; one object sees all replicates of a run."""

    @property
    def block(self) -> int | None:
        """Frames in a turn, once they are known; None where nobody takes turns."""
        ...

    def measure(self, bouts: Sequence[Bout], part: Part, progress: Progress, /) -> None:
        """Give every bout its turns; progress is told shares of this replicate."""
        ...

    def arrival(self, label: str, lanes: int, /) -> Mapping[str, Any]:
        """What `BenchResult.arrival` says of a model."""
        ...


def within(progress: Progress, index: int, count: int) -> Progress:
    """Progress of one part of several."""
    return lambda share: progress((index + share) / count)


def rounds(bouts: Sequence[Bout], part: Part, progress: Progress) -> Iterator[list[Bout]]:
    """Rounds in which everybody has a turn, in an order that rotates, until all have their share.

    Yields:
        The bouts in their order.
    """
    order = list(bouts)
    while order and not any(bout.over for bout in order):
        done = _done(order, part)
        progress(done)
        if done >= 1:
            return
        yield order
        order = order[1:] + order[:1]


def _done(bouts: Sequence[Bout], part: Part) -> float:
    shares = [0.0]
    for bout in bouts:
        if part.frames is not None:
            shares.append(bout.frames / max(1, part.frames))
        if part.duration_ns is not None:
            shares.append(bout.elapsed_ns / part.duration_ns)
    return min(1.0, max(shares))


def left(bout: Bout, part: Part) -> int | None:
    """Frames that its share still has."""
    return None if part.frames is None else max(0, part.frames - bout.frames)


def block_of(bouts: Sequence[Bout], options: BenchOptions) -> int:
    """Frames in a turn: the option's number, else as many as last 25 ms for the fastest."""
    if options.block is not None:
        return options.block
    fastest = min(usual_ns(bout) for bout in bouts)
    return min(_MOST_IN_A_TURN, max(_LEAST_IN_A_TURN, math.ceil(_TURN_NS / fastest)))


def usual_ns(bout: Bout) -> float:
    """About how long a frame takes, by the last ones of the warm-up; 10 ms where there is none."""
    latencies = [value for value in bout.know.warmup_samples_ns["latency"] if value]
    return float(median(latencies[-5:])) if latencies else 1e7
