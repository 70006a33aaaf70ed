"""How frames arrive: one file per scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.scenarios.single import measure_single
from edgeinfer_bench.subject import Contender

Progress = Callable[[float], None]
Clock = Callable[[], int]


class Scenario(Protocol):
    """Runs warmed-up contenders and lets each note its frames; returns the nanoseconds it took."""

    def __call__(
        self,
        contenders: Sequence[Contender],
        options: BenchOptions,
        clock: Clock,
        progress: Progress,
        /,
    ) -> int: ...


SCENARIOS: Mapping[str, Scenario] = MappingProxyType({"single": measure_single})
