"""Can the numbers be trusted? What was seen, and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeinfer.machine import usable_cpus
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.subject import Contender

VALID = "VALID"
INVALID = "INVALID"
# The fewest samples whose median may be stated: n (1 - q) >= 10.
_MIN_FRAMES = 20
# Past one hundredth of the time, the 99th percentile is the throttling's and not the model's.
_MAX_THROTTLED_SHARE = 0.01
_MAX_STEAL_SHARE = 0.02
_MAX_CLOCK_FALL = 0.20


@dataclass(frozen=True)
class Validity:
    """A verdict and what it rests on.

    Attributes:
        reasons: why the numbers are INVALID; none means VALID.
        notes: what a reader should know all the same.
        evidence: what was measured about the run itself.
    """

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        return INVALID if self.reasons else VALID

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "evidence": dict(self.evidence),
        }


def judge(
    before: BoxState, after: BoxState, elapsed_ns: int, contenders: Sequence[Contender]
) -> Validity:
    """Judge a run by the box's state at its ends and by what the models did."""
    changes = _changes(before, after, elapsed_ns)
    reasons = _box_reasons(changes)
    notes = _box_notes(before)
    models: dict[str, Any] = {}
    for contender in contenders:
        reasons += _model_reasons(contender)
        notes += _model_notes(contender)
        models[contender.label] = {
            "frames": len(contender.measured),
            "fallback": contender.fallback,
            "outputs_compared": contender.watch.compared,
            "outputs_changed": contender.watch.changed,
            "source_loops": contender.feed.loops,
            "flagged_frames": dict(contender.flags),
        }
    evidence = {
        "elapsed_ns": elapsed_ns,
        "before": asdict(before),
        "after": asdict(after),
        **changes,
        "models": models,
    }
    return Validity(tuple(reasons), tuple(dict.fromkeys(notes)), evidence)


def _delta(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _changes(before: BoxState, after: BoxState, elapsed_ns: int) -> dict[str, float | None]:
    """What the counters moved by, as shares where that says more; None where unknown."""
    waited_us = _delta(before.throttled_us, after.throttled_us)
    steal = _delta(before.steal_ticks, after.steal_ticks)
    total = _delta(before.total_ticks, after.total_ticks)
    fall = None
    if before.cpu_mhz and after.cpu_mhz:
        fall = max(0.0, 1 - after.cpu_mhz / before.cpu_mhz)
    return {
        "throttled_periods": _delta(before.throttled_periods, after.throttled_periods),
        "throttled_share": None if waited_us is None else waited_us * 1000 / max(1, elapsed_ns),
        "steal_share": None if steal is None or not total else steal / total,
        "thermal_events": _delta(before.thermal_events, after.thermal_events),
        "clock_fall": fall,
    }


def _box_reasons(changes: Mapping[str, float | None]) -> list[str]:
    reasons = []
    throttled = changes["throttled_share"]
    if throttled is not None and throttled > _MAX_THROTTLED_SHARE:
        reasons.append(
            f"The control group's CPU quota stopped the process for {throttled:.1%} of the time: "
            f"use fewer threads or raise the quota."
        )
    steal = changes["steal_share"]
    if steal is not None and steal > _MAX_STEAL_SHARE:
        reasons.append(
            f"The hypervisor gave {steal:.1%} of the processor time to others: measure on a box "
            f"that is not shared."
        )
    if changes["thermal_events"]:
        reasons.append(
            f"The processor slowed down for heat {changes['thermal_events']:.0f} time(s): cool it, "
            f"or measure at a clock that it can hold."
        )
    fall = changes["clock_fall"]
    if fall is not None and fall > _MAX_CLOCK_FALL:
        reasons.append(
            f"The processor's clock fell by {fall:.0%} during the run: fix the clock (governor "
            f"'performance', no boost) and measure again."
        )
    return reasons


def _model_reasons(contender: Contender) -> list[str]:
    label, frames = contender.label, len(contender.measured)
    reasons = []
    if frames < _MIN_FRAMES:
        reasons.append(
            f"{label}: {frames} frames are too few to state a median; measure {_MIN_FRAMES} or "
            f"more."
        )
    if contender.fallback:
        reasons.append(f"{label}: the provider asked for did not run; another one took over.")
    if contender.watch.changed:
        reasons.append(
            f"{label}: the output changed during the run for the same frame, in "
            f"{contender.watch.changed} of {contender.watch.compared} comparisons."
        )
    return reasons


def _box_notes(before: BoxState) -> list[str]:
    notes = []
    cpus = usable_cpus()
    if before.load is not None and before.load[0] > cpus:
        notes.append(
            f"The box was busy: load average {before.load[0]:.1f} on {cpus} processor(s) when the "
            f"measurement began."
        )
    if before.governor not in (None, "performance"):
        notes.append(f"The CPU governor is '{before.governor}': clocks follow the load.")
    return notes


def _model_notes(contender: Contender) -> list[str]:
    notes = []
    feed = contender.feed
    if feed.loops:
        what = "The frames" if feed.whole else f"The first {feed.kept} frames"
        notes.append(
            f"{what} of {feed.info.name} were held in memory and shown {feed.loops + 1} times."
        )
    if contender.ended:
        notes.append(f"{contender.label}: the source ended before the run did.")
    notes += [f"{contender.feed.info.name}: {note}" for note in contender.feed.notes]
    for flag, count in sorted(contender.flags.items()):
        notes.append(f"{contender.label}: {count} frame(s) carry the flag '{flag}'.")
    return notes
