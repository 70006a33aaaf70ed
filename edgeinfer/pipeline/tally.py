"""Counts and durations of a run, in bounded memory however long it lasts."""

from __future__ import annotations

from array import array
from typing import Any

from edgeinfer.results import Payload, Result
from edgeinfer.timing import STAGES, now_ns, summarize

# Quantiles are those of the latest frames; a box on a wall runs for a year.
_WINDOW = 100_000


class Samples:
    """The latest durations."""

    def __init__(self) -> None:
        self._values = array("q")
        self._position = 0

    def add(self, value_ns: int) -> None:
        if len(self._values) < _WINDOW:
            self._values.append(value_ns)
        else:
            self._values[self._position] = value_ns
            self._position = (self._position + 1) % _WINDOW

    def summary(self) -> dict[str, int | None]:
        return summarize(self._values)


class Tally:
    """What a run came to."""

    def __init__(self) -> None:
        self.frames = 0
        self.errors = 0
        self.flags: dict[str, int] = {}
        self._latency = Samples()
        self._age = Samples()
        self._stages = {stage: Samples() for stage in STAGES}
        self._began_ns: int | None = None
        self._ended_ns = 0

    def begin(self) -> None:
        """The first frame is being taken."""
        if self._began_ns is None:
            self._began_ns = now_ns()

    def add(self, result: Result[Payload]) -> None:
        """Count one result."""
        self.frames += 1
        self._latency.add(result.latency_ns)
        self._age.add(result.age_ns)
        for stage, spent in result.stages_ns.items():
            self._stages[stage].add(spent)
        for flag in result.flags:
            self.flags[flag] = self.flags.get(flag, 0) + 1
        self._ended_ns = now_ns()

    @property
    def fps(self) -> float:
        """Frames per second from the first frame taken to the last result delivered."""
        if self._began_ns is None or self._ended_ns <= self._began_ns:
            return 0.0
        return self.frames / ((self._ended_ns - self._began_ns) / 1e9)

    def to_dict(self) -> dict[str, Any]:
        """The measured part of ``edgeinfer.run/1``."""
        stages = {name: samples.summary() for name, samples in self._stages.items()}
        return {
            "frames": self.frames,
            "fps": round(self.fps, 3),
            "latency_ns": self._latency.summary(),
            "age_ns": self._age.summary(),
            "stages_ns": {name: summary for name, summary in stages.items() if summary["n"]},
        }
