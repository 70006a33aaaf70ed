"""What the box did to a measurement: reasons against the numbers, notes, evidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from edgeinfer.machine import usable_cpus
from edgeinfer.machine.energy import Periods
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.boxwatch import (
    MAX_CLOCK_FALL,
    MAX_THROTTLED_SHARE,
    Samples,
    throttled_spans,
)

__all__ = ["BoxVerdict", "judge_box", "throttled_spans"]

_MAX_STEAL_SHARE = 0.02
# A change of clock may look like a slowdown for a moment (NVML: HwSlowdown).
_MAX_SLOWED_SHARE = 0.05
_MAX_OTHERS_SHARE = 0.20
_NOTED_OTHERS_SHARE = 0.05
_MIN_MEMORY_SHARE = 0.03
# 40 KiB a second: the pages of other programs that wake up are fewer.
_MAX_SWAPPED_PER_S = 10.0
# Parts of the run whose clocks are compared, and the fewest looks that one needs.
_PARTS = 10
_PART_LOOKS = 3
# In a report: one look in two seconds over a quarter of an hour, and 90 KB.
_MOST_EVIDENCE = 450


@dataclass(frozen=True)
class BoxVerdict:
    """What the box did, and what that means.

    Attributes:
        reasons: why the numbers are INVALID.
        notes: what a reader should know all the same.
        evidence: what was seen, fit for JSON.
    """

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """From one look to the next, and how much of the time between them counts."""

    before: BoxState
    after: BoxState
    began_ns: int
    ended_ns: int
    share: float


@dataclass(frozen=True)
class _Seen:
    """What counts of a run.

    Attributes:
        steps: between looks, while something was measured.
        states: looks, while something was measured.
    """

    steps: tuple[_Step, ...]
    states: tuple[BoxState, ...]

    @property
    def elapsed_ns(self) -> float:
        return sum((step.ended_ns - step.began_ns) * step.share for step in self.steps)

    def rise(self, name: str, whole: bool = False) -> float | None:
        """What a counter rose by; None where it is not told.

        Args:
            whole: whether a rise counts fully that may have come just before or after measuring.
        """
        found = [
            (after - before) * (1 if whole else step.share)
            for step in self.steps
            if (before := getattr(step.before, name)) is not None
            and (after := getattr(step.after, name)) is not None
        ]
        return sum(found) if found else None

    def gauges(self, name: str) -> list[Any]:
        """What a gauge told, in order."""
        return [value for state in self.states if (value := getattr(state, name)) is not None]


def judge_box(samples: Samples, periods: Sequence[tuple[int, int]]) -> BoxVerdict:
    """Judge what the box did while something was measured.

    Args:
        samples: of `BoxWatch`.
        periods: when measuring began and ended, by the same clock; none: all the time.
    """
    if not samples:
        return BoxVerdict(
            evidence={**dict.fromkeys(("before", "after")), **_changes(_Seen((), ()))}
        )
    spans = Periods(periods) if periods else Periods([(samples[0][0], samples[-1][0])])
    seen = _seen(samples, spans)
    changes = _changes(seen)
    reasons = [words for tell in _REASONS for words in tell(seen, changes)]
    notes = [words for tell in _NOTES for words in tell(seen, changes)]
    evidence = {
        "before": asdict(samples[0][1]),
        "after": asdict(samples[-1][1]),
        **changes,
        "samples": _rows(samples, spans),
    }
    return BoxVerdict(tuple(reasons), tuple(notes), evidence)


def _seen(samples: Samples, spans: Periods) -> _Seen:
    """The steps that lie inside the spans; where those are too short for any, what touches them."""
    inside, touching = [], []
    for (began, before), (ended, after) in itertools.pairwise(samples):
        within = spans.inside_ns(began, ended)
        if within <= 0:
            continue
        step = _Step(before, after, began, ended, within / (ended - began))
        touching.append(step)
        if within == ended - began:
            inside.append(step)
    covered = sum(step.ended_ns - step.began_ns for step in inside)
    steps = inside if 2 * covered >= spans.total_ns else touching
    states = [state for at_ns, state in samples if spans.holds(at_ns)]
    if len(states) < _PART_LOOKS:
        states = [steps[0].before, *(step.after for step in steps)] if steps else states
    return _Seen(tuple(steps), tuple(states))


def _changes(seen: _Seen) -> dict[str, Any]:
    """What the counters moved by, as shares where that says more; None where unknown."""
    elapsed = max(1.0, seen.elapsed_ns)
    waited_us = seen.rise("throttled_us")
    busy, own = seen.rise("busy_ticks"), seen.rise("own_ticks")
    others = None if busy is None or own is None else max(0.0, busy - own)
    available = seen.gauges("memory_available_bytes")
    totals = seen.gauges("memory_total_bytes")
    swapped = seen.rise("swapped_pages", whole=True)
    return {
        "throttled_periods": seen.rise("throttled_periods", whole=True),
        "throttled_share": None if waited_us is None else waited_us * 1000 / elapsed,
        "steal_share": _share(seen.rise("steal_ticks"), seen.rise("total_ticks")),
        "thermal_events": seen.rise("thermal_events", whole=True),
        "overcurrent_events": seen.rise("overcurrent_events", whole=True),
        "clock_fall": _fall(seen.gauges("cpu_mhz")),
        "gpu_clock_fall": _fall(seen.gauges("gpu_mhz")),
        "slowed_share": _active(seen.gauges("slowed_by")),
        "gpu_throttled_share": _active(seen.gauges("gpu_throttle")),
        "others_share": _share(others, seen.rise("usable_ticks")),
        "swapped_pages": swapped,
        "swapped_per_s": None if swapped is None else swapped * 1e9 / elapsed,
        "memory_left_share": min(available) / max(totals) if available and totals else None,
        "hottest_c": max(seen.gauges("temperature_c"), default=None),
        "gpu_hottest_c": max(seen.gauges("gpu_temperature_c"), default=None),
    }


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _active(gauges: Sequence[tuple[str, ...]]) -> float | None:
    """Share of the looks at which something was named."""
    return sum(map(bool, gauges)) / len(gauges) if gauges else None


def _fall(clocks: Sequence[float]) -> float | None:
    """The largest fall from one part of the run to a later one, as a share of the clock."""
    if len(clocks) < 2:
        return None
    count = max(2, min(_PARTS, len(clocks) // _PART_LOOKS))
    edges = [round(index * len(clocks) / count) for index in range(count + 1)]
    fall, best = 0.0, 0.0
    for began, ended in itertools.pairwise(edges):
        level = median(clocks[began:ended])
        best = max(best, level)
        fall = max(fall, 1 - level / best) if best else fall
    return fall


Changes = Mapping[str, Any]
Tell = Callable[[_Seen, Changes], Iterable[str]]


def _over(changes: Changes, name: str, limit: float) -> bool:
    value = changes[name]
    return value is not None and value > limit


def _quota(seen: _Seen, changes: Changes) -> Iterable[str]:
    if _over(changes, "throttled_share", MAX_THROTTLED_SHARE):
        yield (
            f"The control group's CPU quota stopped the process for "
            f"{changes['throttled_share']:.1%} of the time: use fewer threads or raise the quota."
        )


def _steal(seen: _Seen, changes: Changes) -> Iterable[str]:
    if _over(changes, "steal_share", _MAX_STEAL_SHARE):
        yield (
            f"The hypervisor gave {changes['steal_share']:.1%} of the processor time to others: "
            f"measure on a box that is not shared."
        )


def _heat(seen: _Seen, changes: Changes) -> Iterable[str]:
    if _over(changes, "thermal_events", 0):
        yield (
            f"The processor slowed down for heat {changes['thermal_events']:.0f} time(s): cool it, "
            f"or measure at a clock that it can hold."
        )
    if _over(changes, "slowed_share", _MAX_SLOWED_SHARE):
        names = ", ".join(dict.fromkeys(itertools.chain(*seen.gauges("slowed_by"))))
        hottest = changes["hottest_c"]
        heat = "" if hottest is None else f", at up to {hottest:.0f} °C"
        yield (
            f"The box was kept below its speed for {changes['slowed_share']:.0%} of the time "
            f"({names}{heat}): cool it, give it enough power, or choose a lower power mode."
        )


def _clock(seen: _Seen, changes: Changes) -> Iterable[str]:
    limits = seen.gauges("cpu_limit_mhz")
    if limits and min(limits) < limits[0]:
        yield (
            f"The clock that the processor may reach was lowered from {limits[0]:.0f} to "
            f"{min(limits):.0f} MHz during the run: cool the box, or fix the clock at what it can "
            f"hold."
        )
    if _over(changes, "clock_fall", MAX_CLOCK_FALL):
        yield (
            f"The processor's clock fell by {changes['clock_fall']:.0%} during the run: fix the "
            f"clock (governor 'performance', no boost) and measure again."
        )


def _power_mode(seen: _Seen, changes: Changes) -> Iterable[str]:
    modes = list(dict.fromkeys(seen.gauges("power_mode")))
    if len(modes) > 1:
        yield (
            f"The power mode changed during the run ({' to '.join(modes)}): set one with nvpmodel "
            f"and measure again."
        )


def _gpu(seen: _Seen, changes: Changes) -> Iterable[str]:
    if _over(changes, "gpu_throttled_share", _MAX_SLOWED_SHARE):
        names = ", ".join(dict.fromkeys(itertools.chain(*seen.gauges("gpu_throttle"))))
        yield (
            f"The GPU's clock was held down for {changes['gpu_throttled_share']:.0%} of the time "
            f"({names}): cool it, raise its power limit, or lock a clock that it can hold "
            f"(nvidia-smi --lock-gpu-clocks)."
        )


def _memory(seen: _Seen, changes: Changes) -> Iterable[str]:
    if _over(changes, "swapped_per_s", _MAX_SWAPPED_PER_S):
        yield (
            f"The box swapped {changes['swapped_pages']:.0f} pages: stop what else runs there, or "
            f"give it more memory."
        )
    left = changes["memory_left_share"]
    if left is not None and left < _MIN_MEMORY_SHARE:
        least = min(seen.gauges("memory_available_bytes"))
        yield (
            f"Memory was nearly used up, {least / 2**20:.0f} MiB ({left:.1%}) were left: stop what "
            f"else runs there, or measure a smaller model."
        )


def _others(seen: _Seen, changes: Changes) -> Iterable[str]:
    if _over(changes, "others_share", _MAX_OTHERS_SHARE):
        yield (
            f"Other processes used {changes['others_share']:.0%} of the processor time: stop them "
            f"and measure again."
        )


def _busy_notes(seen: _Seen, changes: Changes) -> Iterable[str]:
    others = changes["others_share"]
    if others is not None and _NOTED_OTHERS_SHARE < others <= _MAX_OTHERS_SHARE:
        yield f"Other processes used {others:.0%} of the processor time."
    loads, cpus = seen.gauges("load"), usable_cpus()
    # Later ones count what is measured itself.
    if loads and loads[0][0] > cpus:
        yield (
            f"The box was busy: load average {loads[0][0]:.1f} on {cpus} processor(s) when the "
            f"measurement began."
        )
    swapped = changes["swapped_pages"]
    if swapped and not _over(changes, "swapped_per_s", _MAX_SWAPPED_PER_S):
        yield f"The box swapped {swapped:.0f} page(s)."


def _clock_notes(seen: _Seen, changes: Changes) -> Iterable[str]:
    governors = list(dict.fromkeys(seen.gauges("governor")))
    if governors and governors != ["performance"]:
        yield f"The CPU governor is '{' then '.join(governors)}': clocks follow the load."
    limits, most = seen.gauges("cpu_limit_mhz"), seen.gauges("cpu_max_mhz")
    if limits and most and limits[0] < most[0]:
        yield f"The processor's clock is capped at {limits[0]:.0f} of {most[0]:.0f} MHz."
    if _over(changes, "gpu_clock_fall", MAX_CLOCK_FALL):
        yield (
            f"The GPU's clock fell by {changes['gpu_clock_fall']:.0%} during the run: where the "
            f"model runs there, lock it (jetson_clocks, nvidia-smi --lock-gpu-clocks)."
        )
    if changes["overcurrent_events"]:
        yield (
            f"The board slowed down {changes['overcurrent_events']:.0f} time(s) because it drew "
            f"too much current: a lower power mode holds its clocks."
        )
    for why in dict.fromkeys(seen.gauges("gpu_untold")):
        yield f"The GPU was not watched: {why}."


_REASONS: tuple[Tell, ...] = (
    _quota, _steal, _heat, _clock, _power_mode, _gpu, _memory, _others,
)  # fmt: skip
_NOTES: tuple[Tell, ...] = (_busy_notes, _clock_notes)


def _rows(samples: Samples, measured: Periods) -> list[dict[str, Any]]:
    """What a reader plots: evenly thinned out, throttling kept, the ends kept."""
    throttled = Periods(throttled_spans(samples, measured.merged))
    group = math.ceil(max(1, len(samples) - 1) / _MOST_EVIDENCE)
    rows = []
    for index, (at_ns, state) in enumerate(samples):
        if (index % group) and index != len(samples) - 1:
            continue
        since = samples[max(0, index - group)][0]
        rows.append(
            {
                "at_ns": at_ns,
                "cpu_mhz": state.cpu_mhz,
                "temperature_c": state.temperature_c,
                "load": None if state.load is None else state.load[0],
                "throttled": throttled.inside_ns(since, at_ns) > 0,
                "gpu_mhz": state.gpu_mhz,
                "gpu_temperature_c": state.gpu_temperature_c,
                "memory_available_bytes": state.memory_available_bytes,
            }
        )
    return rows
