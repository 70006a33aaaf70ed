"""What `tune` is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeinfer.errors import UsageError, suggest
from edgeinfer.plan import OBJECTIVES
from edgeinfer.records import dataclass

# What is being done, and which share of the time is used, from 0 to 1.
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class TuneOptions:
    """How a box is measured.

    Attributes:
        objective: ``latency``: the tail of paced frames; ``throughput``: frames per second;
            ``efficiency``: frames per joule where the box tells, else per CPU-second.
        source: pictures or video with objects on them, as `run` takes it, or several; None or
            nothing for made-up ones.
        validation: labelled data; a lower precision is then judged by the task's metric.
        max_drop: what of it may be lost, as a share of the reference's: 0.01 of 0.80 is 0.008.
        fps: the rate of paced frames; 0 for one after the other, None for what the box holds, at
            most a camera's 30.
        budget_s: seconds to take at most, judging by labelled data and building engines apart.
        build: whether engines that take minutes are built.
    """

    objective: str = "latency"
    source: str | Sequence[str] | None = None
    validation: str | None = None
    max_drop: float = 0.01
    fps: float | None = None
    budget_s: float = 45.0
    build: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """All that frames are taken from."""
        if self.source is None or isinstance(self.source, str):
            return () if self.source is None else (self.source,)
        return tuple(self.source)

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise UsageError(
                f"There is no objective '{self.objective}'. {suggest(self.objective, OBJECTIVES)}"
            )
        if not 1 <= self.budget_s <= 86400:
            raise UsageError(f"budget is {self.budget_s:g} s, not from 1 to 86400.")
        if self.fps is not None and not 0 <= self.fps <= 10000:
            raise UsageError(f"fps is {self.fps:g}, not from 0 to 10000.")
        if not 0 <= self.max_drop <= 1:
            raise UsageError(f"max_drop is {self.max_drop:g}, not between 0 and 1 (1% is 0.01).")
