"""What one process is told to measure in one turn, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeinfer_bench.recorder import Samples
from edgeinfer_bench.replicate import columns_from


@dataclass(frozen=True)
class Order:
    """How many frames, and how they arrive.

    Attributes:
        kind: of `loops.LOOPS`.
        frames: arrivals at most, None for no limit; over all streams.
        duration_ns: time at most, None for no limit; no arrival is later.
        interval_ns: between arrivals of one stream in an open loop; the mean where `seed` is given.
        streams: how many there are; they arrive evenly shifted.
        policy: of an open loop, ``all`` or ``latest``.
        seed: arrivals are random (Poisson) and drawn from this; None: they are regular.
        discard: frames before the first that is kept, back to back.
        settle_ns: how long to wait afterwards, at most, until the process's own threads sleep: they
            wait busily for more work, and the next one to measure is somebody else.
        give_up_over_ns: an open loop ends early when more than `give_up_after` frames are older.
    """

    kind: str = "back-to-back"
    frames: int | None = None
    duration_ns: int | None = None
    interval_ns: int = 0
    streams: int = 1
    policy: str = "all"
    seed: int | None = None
    discard: int = 0
    settle_ns: int = 0
    give_up_over_ns: int | None = None
    give_up_after: int = 0

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Turn:
    """What one order came to.

    Attributes:
        samples_ns: as of `Replicate`, but ``at`` is the box's monotonic clock.
        began_ns: monotonic clock when the first frame of it was due or taken.
        elapsed_ns: until the last answer.
        cpu_ns: processor time of the process meanwhile.
        offered: arrivals, those dropped among them.
        drops_at_ns: monotonic clock of each drop.
        streams: the stream of each row where there are several.
        ended: whether a live source ended.
        error: why it stopped before its time; what was measured until then is here.
    """

    samples_ns: Samples = field(default_factory=dict)
    began_ns: int = 0
    elapsed_ns: int = 0
    cpu_ns: int = 0
    offered: int = 0
    drops_at_ns: tuple[int, ...] = ()
    streams: tuple[int, ...] = ()
    ended: bool = False
    error: str | None = None

    @property
    def frames(self) -> int:
        """How many frames were answered."""
        return len(self.samples_ns.get("latency", ()))

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Turn:
        fields = dict(data)
        fields["samples_ns"] = columns_from(fields["samples_ns"])
        for name in ("drops_at_ns", "streams"):
            fields[name] = tuple(fields[name])
        return Turn(**fields)
