"""Where the time of a frame goes: one bar per result, one part per stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeinfer_bench.tables import decimals, ms

# A part below this share of its bar cannot be seen and is left to the text.
_VISIBLE = 0.002


@dataclass(frozen=True)
class Part:
    """A stage's piece of a bar: its width in percent of the widest bar, and what to write."""

    stage: str
    width: float
    text: str


@dataclass(frozen=True)
class Bar:
    """One result's bar."""

    label: str
    total: str
    parts: tuple[Part, ...]


def stage_stack(means_ns: Sequence[tuple[str, Mapping[str, float]]]) -> list[Bar]:
    """Bars on one scale.

    Args:
        means_ns: label and mean nanoseconds by stage of each result; means add up, quantiles
            do not.
    """
    widest = max((sum(parts.values()) for _, parts in means_ns), default=0.0) or 1.0
    digits = decimals(sum(parts.values()) for _, parts in means_ns)
    bars = []
    for label, parts in means_ns:
        shown = tuple(
            Part(stage, 100 * value / widest, f"{ms(value, max(digits, 2))} ms")
            for stage, value in parts.items()
            if value > _VISIBLE * widest or stage != "other"
        )
        bars.append(Bar(label, f"{ms(sum(parts.values()), digits)} ms", shown))
    return bars
