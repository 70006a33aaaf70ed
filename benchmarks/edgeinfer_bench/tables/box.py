"""What ran, on which frames, on which box, and what was seen of the box meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.tables.table import UNSTATED, Table

_UNKNOWN = "not told"
_RAN_NOTE = (
    "Threads are those of the process, lanes the inferences that ran at once and share them. Plan: "
    "tuned is a stored one of `edgeinfer tune`, options is what was said, default is neither."
)
# More models than this are a matrix.
_EACH = 3


def ran(report: Report) -> Table:
    """One row per result: what ran it and on what."""
    rows = []
    for result in report.results:
        about = result.about
        plan = about.get("plan") or {}
        rows.append(
            (
                result.label,
                str(about.get("provider")),
                str(about.get("provider_impl")),
                str(about.get("device")),
                _precision(result),
                str(plan.get("threads", UNSTATED)),
                str(result.arrival.get("lanes", UNSTATED)),
                str(plan.get("preprocess", UNSTATED)),
                str(plan.get("source", UNSTATED)),
            )
        )
    header = (
        *("model", "provider", "by", "device", "precision"),
        *("threads", "lanes", "preprocess", "plan"),
    )
    return Table(header, _together(rows), len(header), (_RAN_NOTE,) if rows else ())


def _precision(result: BenchResult) -> str:
    model = result.about.get("model") or {}
    stored, computed = str(model.get("precision") or ""), str(result.about.get("compute_precision"))
    return computed if stored in ("", computed) else f"{stored}, computed in {computed}"


def _together(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """One row where the same holds for all models."""
    if len(rows) > 1 and len({row[1:] for row in rows}) == 1:
        return (("all", *rows[0][1:]),)
    return tuple(rows)


def placement(report: Report, most: int = 8) -> Table:
    """One row per result and provider: how many nodes it got and of which op types."""
    rows = []
    for result in report.results:
        about = result.about.get("placement") or {}
        for provider, got in (about.get("providers") or {}).items():
            ops = sorted(got["op_types"].items(), key=lambda item: (-item[1], item[0]))
            listed = ", ".join(f"{name} {number}" for name, number in ops[:most])
            rest = len(ops) - most
            more = f", and {rest} more types" if rest > 0 else ""
            rows.append((result.label, provider, listed + more, f"{got['nodes']:,}"))
    return Table(("model", "provider", "op types", "nodes"), tuple(rows), 3)


def sources(report: Report) -> Table:
    """One row per result: the frames that it got."""
    rows = []
    for result in report.results:
        source = result.source
        size = source.get("size_wh")
        rows.append(
            (
                result.label,
                str(source.get("name")),
                str(source.get("kind")),
                f"{size[0]}×{size[1]}" if size else UNSTATED,
                result.shown,
            )
        )
    return Table(("model", "source", "kind", "size", "shown"), _together(rows), 5)


def environment(report: Report) -> Table:
    """The box and the versions."""
    machine = report.machine
    quota = machine.get("quota_cpus")
    cpus = f"{machine.get('cpus')}" + (f", quota {quota:g}" if quota is not None else "")
    memory = machine.get("memory_bytes") or 0
    rows = [
        ("processor", str(machine.get("cpu"))),
        ("processors", cpus),
        ("features", ", ".join(machine.get("features") or ()) or "none of note"),
        ("governor", str(machine.get("governor") or _UNKNOWN)),
        ("memory", f"{memory / 2**30:.1f} GiB"),
        (
            "system",
            f"{machine.get('system')} {machine.get('kernel')}, {machine.get('architecture')}",
        ),
        *((name, version) for name, version in report.versions.items()),
    ]
    return Table(("what", "value"), tuple(rows), 2)


# Told even where the box does not know them: a reader looks for these.
_ALWAYS = ("throttled_share", "steal_share", "thermal_events", "clock_fall")
_COUNTERS = (
    ("throttled_share", "time stopped by the CPU quota", "{:.2%}"),
    ("steal_share", "processor time given to other machines", "{:.2%}"),
    ("thermal_events", "slow-downs for heat", "{:.0f}"),
    ("clock_fall", "fall of the clock during the run", "{:.1%}"),
    ("others_share", "processor time of other programs", "{:.1%}"),
    ("slowed_share", "looks at which heat took speed off", "{:.1%}"),
    ("overcurrent_events", "slow-downs for too much current", "{:.0f}"),
    ("memory_left_share", "least memory left", "{:.0%}"),
    ("swapped_pages", "pages swapped", "{:,.0f}"),
    ("gpu_clock_fall", "fall of the GPU clock", "{:.1%}"),
    ("gpu_throttled_share", "looks at which the GPU was slowed", "{:.1%}"),
)
_GAUGES: Sequence[tuple[str, str, str]] = (
    ("cpu_mhz", "processor clock", "{:,.0f} MHz"),
    ("gpu_mhz", "GPU clock", "{:,.0f} MHz"),
    ("temperature_c", "temperature", "{:.0f} °C"),
    ("load", "load average", "{:.2f}"),
    ("gpu_temperature_c", "GPU temperature", "{:.0f} °C"),
)


def evidence(report: Report) -> Table:
    """What was seen of the box and the outputs during the run; of several runs, side by side."""
    lines: dict[str, list[str]] = {}
    for run in runs(report):
        for what, value in _seen(run):
            lines.setdefault(what, []).append(value)
    rows = [(what, " · ".join(dict.fromkeys(values))) for what, values in lines.items()]
    rows += _outputs(report.results)
    return Table(("what", "seen"), tuple(rows), 2)


def runs(report: Report) -> Sequence[Mapping[str, Any]]:
    """The evidence of each run on the page."""
    evidence = report.validity.evidence
    return evidence.get("runs") or [evidence]


def throttled_spans(run: Mapping[str, Any]) -> list[tuple[int, int]]:
    """When the box was throttled in a run, from-to in nanoseconds of its monotonic clock; where
    only samples say so, from each throttled one back to the one before."""
    told = run.get("throttled_spans")
    if told is not None:
        return [(int(begin), int(end)) for begin, end in told]
    return [
        (int(before["at_ns"]), int(sample["at_ns"]))
        for before, sample in itertools.pairwise(run.get("samples") or ())
        if sample.get("throttled")
    ]


def _seen(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    samples = run.get("samples") or ()
    governor = (run.get("before") or {}).get("governor") or run.get("governor")
    found = [("governor", str(governor or _UNKNOWN))]
    found.append(("looked at the box", f"{len(samples):,} times"))
    for key, what, form in _GAUGES:
        values = _values(samples, key)
        if values or key in ("cpu_mhz", "temperature_c", "load"):
            found.append((what, _range(values, form.format)))
    for key, what, form in _COUNTERS:
        value = run.get(key)
        if value is not None or key in _ALWAYS:
            found.append((what, _UNKNOWN if value is None else form.format(value)))
    spans = throttled_spans(run)
    lasted = sum(end - start for start, end in spans)
    told = (
        f"{lasted / 1e9:.3g} s in {len(spans):,} part{'s' * (len(spans) > 1)}" if spans else "never"
    )
    found.append(("throttled while looked at", told))
    return found


def _values(samples: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    """A gauge over the run; of several averages the shortest."""
    values = []
    for sample in samples:
        value = sample.get(key)
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        if value is not None:
            values.append(float(value))
    return values


def _range(values: Sequence[float], form: Callable[[float], str]) -> str:
    if not values:
        return _UNKNOWN
    low, high = form(min(values)), form(max(values))
    return low if low == high else f"{low} to {high}"


def _outputs(results: Sequence[BenchResult]) -> list[tuple[str, str]]:
    """Whether the same frame always gave the same; of many models only those that did not."""
    rows = []
    for result in results:
        compared, changed = (
            sum(each.evidence.get(key) or 0 for each in result.replicates)
            for key in ("outputs_compared", "outputs_changed")
        )
        if len(results) <= _EACH or changed or not compared:
            told = f"{changed:,} of {compared:,} repeated frames differed"
            told = told if compared else "no frame was repeated"
            rows.append((f"outputs of {result.label}", told))
    if len(rows) < len(results):
        rows.append(("outputs of the other models" if rows else "outputs", "always the same"))
    return rows
