"""Samples as they come: one integer of nanoseconds per frame and column, nothing computed."""

from __future__ import annotations

from array import array
from collections.abc import Mapping

from edgeinfer.results import Payload, Result
from edgeinfer.timing import STAGES

Samples = Mapping[str, tuple["int | None", ...]]

_MISSING = -1
_FIRST_CAPACITY = 1024
# A run of a million frames asks for no more than this ahead: 8 bytes in each of 13 columns.
_MAX_CAPACITY = 1 << 17


def late(samples: Samples, limit_ns: float) -> int:
    """How many frames were older than a limit when they were answered."""
    return sum(1 for age in samples.get("age", ()) if age is not None and age > limit_ns)


class Recorder:
    """Columns of nanoseconds, allocated ahead so that noting a frame costs about a microsecond.

    Args:
        capacity: frames expected; more are taken all the same.
    """

    def __init__(self, capacity: int | None = None) -> None:
        wanted = _FIRST_CAPACITY if capacity is None else capacity
        self._capacity = max(1, min(wanted, _MAX_CAPACITY))
        self._count = 0
        self._at = self._column()
        self._latency = self._column()
        self._age = self._column()
        self._stages = [(stage, self._column()) for stage in STAGES]

    def _column(self) -> array[int]:
        return array("q", [_MISSING]) * self._capacity

    def __len__(self) -> int:
        return self._count

    def add(self, result: Result[Payload], at_ns: int) -> None:
        """Note one frame's times, and when work on it began."""
        index = self._count
        if index == self._capacity:
            self._grow()
        self._at[index] = at_ns
        self._latency[index] = result.latency_ns
        self._age[index] = result.age_ns
        taken = result.stages_ns
        for stage, column in self._stages:
            if stage in taken:
                column[index] = taken[stage]
        self._count = index + 1

    def _grow(self) -> None:
        more = self._column()
        for column in (self._at, self._latency, self._age, *(column for _, column in self._stages)):
            column.extend(more)
        self._capacity *= 2

    def samples(self) -> Samples:
        """Columns by name: ``at``, ``latency``, ``age`` and each stage that happened at least once.

        Row i of every column is the same frame; None where a stage did not happen in it.
        """
        count = self._count
        columns: dict[str, tuple[int | None, ...]] = {
            "at": tuple(self._at[:count]),
            "latency": tuple(self._latency[:count]),
            "age": tuple(self._age[:count]),
        }
        for stage, column in self._stages:
            taken = column[:count]
            if any(value != _MISSING for value in taken):
                columns[stage] = tuple(None if value == _MISSING else value for value in taken)
        return columns
