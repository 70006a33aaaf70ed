"""Two reports: what changed, how sure that is, and a verdict.

Runs that were not interleaved saw the box in other moods, so a report must hold several fresh
processes: their spread is part of every interval. What cannot be compared is refused, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from edgeinfer.machine import Machine
from edgeinfer_bench.recorder import late
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.stats import MIN_PROCESSES, Interval, mean_ratio, ratios

VERDICTS = ("same", "faster", "slower", "inconclusive", "incomparable")
DEFAULT_MAX_REGRESSION = 0.03
# The verdict rests on the first of these that both can state, and a tail that is surely worse than
# allowed counts as well.
_TYPICAL = ("p50", "mean")
_TAIL = "p99"
_UNSTATED = (
    "samples: they hold too few frames, or frames that took no time, to state even a median: "
    "measure for longer."
)
# What an arrival must share: how frames came, not what was found out about it.
_ARRIVAL = ("fps", "streams", "policy", "deadline_ns", "target_ns")


@dataclass(frozen=True)
class Metric:
    """One figure of both reports.

    Attributes:
        name: ``latency.p50``, ``inference.p99``, ``time_per_frame``; with the label in front where
            there are several models. ``time_per_timely_frame`` is the time of paced frames over
            those answered by their deadline: drops and late ones raise it.
        base: in nanoseconds. new: the same of the other.
        ci95: the interval of new / base.
        deciding: whether the verdict rests on it.
    """

    name: str
    base: float
    new: float
    ci95: Interval
    deciding: bool = False

    @property
    def ratio(self) -> float:
        """Above 1 is slower."""
        return self.new / self.base

    @property
    def significant(self) -> bool:
        """Whether the interval leaves out 1."""
        return not self.ci95[0] <= 1.0 <= self.ci95[1]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "base": round(self.base),
            "new": round(self.new),
            "ratio": self.ratio,
            "ci95": list(self.ci95),
            "significant": self.significant,
        }


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes:
        verdict: of `VERDICTS`.
        reason: one sentence; what cannot be compared begins with what differs.
        metrics: none where the reports cannot be compared.
        notes: what a reader should know: other versions, another model file.
    """

    verdict: str
    reason: str
    metrics: tuple[Metric, ...] = ()
    notes: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, ...]]:
        """A table for people: values in ms, the ratio with its interval; none where there are no
        metrics."""
        if not self.metrics:
            return []
        rows: list[tuple[str, ...]] = [("metric", "base ms", "new ms", "ratio", "95% interval", "")]
        for item in self.metrics:
            low, high = item.ci95
            values = (f"{item.base / 1e6:.3f}", f"{item.new / 1e6:.3f}", f"{item.ratio:.3f}")
            mark = "differs" if item.significant else ""
            rows.append((item.name, *values, f"{low:.3f} to {high:.3f}", mark))
        return rows

    def to_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "reason": self.reason,
            "metrics": [metric.to_dict() for metric in self.metrics],
            "notes": list(self.notes),
        }


def compare(
    base: Report, new: Report, max_regression: float = DEFAULT_MAX_REGRESSION
) -> Comparison:
    """Compare two reports of one box.

    Args:
        max_regression: slower by this share is still the same.

    Returns:
        ``slower`` where the typical frame, or surely the 99th percentile, takes more time than
        allowed; ``same`` where the interval lies within what is allowed either way.
    """
    why = why_incomparable(base, new)
    if why is not None:
        return Comparison("incomparable", why)
    pairs = list(_pairs(base, new))
    several = len(pairs) > 1
    metrics = [
        metric
        for ours, theirs in pairs
        for metric in _metrics(ours, theirs, f"{ours.label}: " if several else "")
    ]
    deciding = [metric for metric in metrics if metric.deciding]
    if not deciding:
        return Comparison("incomparable", _UNSTATED)
    verdicts = [_verdict(metric, max_regression) for metric in deciding]
    verdict = next((one for one in ("slower", "inconclusive", "faster") if one in verdicts), "same")
    reason = "; ".join(
        _sentence(metric) for metric in deciding if _verdict(metric, max_regression) == verdict
    )
    return Comparison(
        verdict,
        f"{reason} (allowed: {max_regression:.3%} more).".replace(".000%", "%"),
        tuple(metrics),
        tuple(_notes(base, new)),
    )


def why_incomparable(base: Report, new: Report) -> str | None:
    """Why two reports cannot be compared, beginning with what it is about; None where they can."""
    for which, report in (("first", base), ("second", new)):
        if not report.valid:
            return (
                f"validity: the {which} report is INVALID ({report.validity.reasons[0]}): measure "
                f"it again."
            )
    differing = Machine.from_dict(new.machine).differences(Machine.from_dict(base.machine))
    if differing:
        return f"machines: {'; '.join(differing)}. Measure both on one box in one state."
    pairs = list(_pairs(base, new))
    if not pairs:
        return (
            f"models: the first holds {_labels(base)}, the second {_labels(new)}: none is in both."
        )
    for ours, theirs in pairs:
        why = _scenario_differs(ours, theirs) or _too_little(ours, theirs)
        if why is not None:
            return why
    return None


def _labels(report: Report) -> str:
    return ", ".join(result.label for result in report.results)


def _pairs(base: Report, new: Report) -> Iterator[tuple[BenchResult, BenchResult]]:
    """The models of both: by label, or the only ones."""
    if len(base.results) == len(new.results) == 1:
        yield base.results[0], new.results[0]
        return
    theirs = {result.label: result for result in new.results}
    for result in base.results:
        if result.label in theirs:
            yield result, theirs[result.label]


def _scenario_differs(ours: BenchResult, theirs: BenchResult) -> str | None:
    facts: list[tuple[str, object, object]] = [
        ("scenarios: the scenario", ours.scenario, theirs.scenario)
    ]
    facts += [
        (f"scenarios: {key}", ours.arrival.get(key), theirs.arrival.get(key)) for key in _ARRIVAL
    ]
    facts += [
        (f"sources: the {key}", ours.source.get(key), theirs.source.get(key))
        for key in ("name", "kind", "size_wh")
    ]
    for what, before, after in facts:
        if before != after:
            how = "give both the same --target" if "target" in what else "measure both alike"
            return f"{what} is {before} in the first and {after} in the second: {how}."
    return None


def _too_little(ours: BenchResult, theirs: BenchResult) -> str | None:
    for which, result in (("first", ours), ("second", theirs)):
        count = len(result.replicates)
        if count < MIN_PROCESSES:
            return (
                f"replicates: the {which} report holds {count} process(es) of {result.label}, and "
                f"fewer than {MIN_PROCESSES} do not show how processes differ. Measure with "
                f"--replicates {MIN_PROCESSES}, or side by side: edgeinfer bench A --against B."
            )
    sizes = sorted((ours.frames, theirs.frames))
    if sizes[1] > 10 * sizes[0]:
        return (
            f"samples: {ours.frames:,} frames in the first and {theirs.frames:,} in the second: "
            f"measure both for about as long."
        )
    return None


def _metrics(ours: BenchResult, theirs: BenchResult, prefix: str) -> Iterator[Metric]:
    headline = ours.headline
    if ours.scenario in ("offline", "server"):
        yield from _rates(ours, theirs, prefix)
    columns = dict.fromkeys((headline, "latency", *ours.stages_ns))
    for column in columns:
        before = [item.column(column) for item in ours.replicates]
        after = [item.column(column) for item in theirs.replicates]
        if not all(any(part) for part in (before, after)) or _has_zero(before, after):
            continue
        found = ratios(before, after)
        decides = column == headline and ours.scenario in ("single", "paced")
        typical = next((name for name in _TYPICAL if name in found), None)
        for name, (first, second, interval) in found.items():
            deciding = decides and name in (typical, _TAIL)
            yield Metric(f"{prefix}{column}.{name}", first, second, interval, deciding)
    if ours.scenario == "paced":
        yield from _rates(ours, theirs, prefix)


def _has_zero(*sides: Sequence[Sequence[int]]) -> bool:
    """Whether a stage took no time at all in some frame: it has no ratio."""
    return any(min(samples, default=1) <= 0 for side in sides for samples in side)


def _rates(ours: BenchResult, theirs: BenchResult, prefix: str) -> Iterator[Metric]:
    """Nanoseconds per frame, as the rate has it; of paced frames, per frame that was in time."""
    if ours.scenario != "server":
        name = "time_per_frame" if ours.scenario == "offline" else "time_per_timely_frame"
        before, after, interval = mean_ratio(_per_frame(ours), _per_frame(theirs))
        yield Metric(f"{prefix}{name}", before, after, interval, True)
        return
    # A search tells between which two rates the limit lies, and no more.
    held = [float(item.arrival.get("rate") or 0) for item in (ours, theirs)]
    failed = [float(item.arrival.get("rate_failed") or 0) for item in (ours, theirs)]
    if all(held) and all(failed):
        interval = (held[0] / failed[1], failed[0] / held[1])
        yield Metric(f"{prefix}time_per_frame", 1e9 / held[0], 1e9 / held[1], interval, True)


def _per_frame(result: BenchResult) -> list[float]:
    deadline = float(result.arrival.get("deadline_ns") or math.inf)
    timely = [item.frames - late(item.samples_ns, deadline) for item in result.replicates]
    return [
        item.elapsed_ns / max(1, count)
        for item, count in zip(result.replicates, timely, strict=True)
        if item.frames
    ]


def _verdict(metric: Metric, allowed: float) -> str:
    low, high = metric.ci95
    if metric.name.endswith(_TAIL):
        return "slower" if low > 1 + allowed else "same"
    if low > 1 and metric.ratio > 1 + allowed:
        return "slower"
    if high < 1 and metric.ratio < 1 - allowed:
        return "faster"
    return "same" if low >= 1 - allowed and high <= 1 + allowed else "inconclusive"


def _sentence(metric: Metric) -> str:
    low, high = metric.ci95
    return f"{metric.name} is {metric.ratio:.3f} times the first ({low:.3f} to {high:.3f})"


def _notes(base: Report, new: Report) -> Iterator[str]:
    compared = list(_pairs(base, new))
    for which, report, at in (("first", base, 0), ("second", new, 1)):
        left = [one.label for one in report.results if all(one is not two[at] for two in compared)]
        if left:
            yield f"Only the {which} report holds {', '.join(left)}: not compared."
    for name in {**base.versions, **new.versions}:
        before, after = base.versions.get(name), new.versions.get(name)
        if before != after:
            yield f"{name} was {before or 'not there'} and is {after or 'not there'}."
    for ours, theirs in compared:
        for key in ("provider", "provider_impl", "device", "compute_precision"):
            if ours.about.get(key) != theirs.about.get(key):
                yield (
                    f"{ours.label}: {key} was {ours.about.get(key)} and is {theirs.about.get(key)}."
                )
        hashes = [(item.about.get("model") or {}).get("sha256") for item in (ours, theirs)]
        if hashes[0] != hashes[1]:
            yield f"{ours.label}: the model files differ."
