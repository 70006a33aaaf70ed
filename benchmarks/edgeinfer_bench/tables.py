"""What a report says in tables; each writer only decides how a table looks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeinfer_bench.relative import relatives
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult, Summary

UNSTATED = "-"
FOOTNOTE = (
    "- is a quantile that so few frames cannot state: p50 takes 20 frames, p90 100, p99 1000, so "
    "that 10 lie beyond it."
)
FPS_NOTE = "Frames per second counts latency alone; reading and decoding frames lie before it."
_QUANTILES = ("p50", "p90", "p99", "max")
_BEFORE_LATENCY = ("capture", "queue")


@dataclass(frozen=True)
class Table:
    """Cells as texts.

    Attributes:
        header: one name per column, units included.
        rows: one text per column.
        text_columns: how many of the first columns hold words (left aligned); the rest, numbers.
        notes: what a reader must know to read it.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    notes: tuple[str, ...] = ()


def decimals(values_ns: Iterable[int | float | None]) -> int:
    """Decimals that give the smallest value above 0 three significant digits in ms, at most 3."""
    known = [value for value in values_ns if value]
    if not known:
        return 1
    return min(3, max(0, 2 - math.floor(math.log10(min(known) / 1e6))))


def ms(value_ns: int | float | None, digits: int) -> str:
    """Milliseconds without the unit, or `-`."""
    return UNSTATED if value_ns is None else f"{value_ns / 1e6:.{digits}f}"


def rate(value: float, digits: int) -> str:
    """Frames per second."""
    return f"{value:,.{digits}f}"


def headline(report: Report) -> Table:
    """One row per result: latency quantiles, rate, what ran."""
    results = report.results
    digits = decimals(result.latency_ns[key] for result in results for key in _QUANTILES)
    rate_digits = decimals(result.fps * 1e6 for result in results)
    ratios = relatives(report)
    compared = any(item is not None for item in ratios)
    rows = []
    for result, item in zip(results, ratios, strict=True):
        row = [result.label, *(ms(result.latency_ns[key], digits) for key in _QUANTILES)]
        row += [rate(result.fps, rate_digits), f"{result.frames:,}"]
        if compared:
            row.append(
                "1" if item is None else f"{item.ratio:.3f} ({item.low:.3f}–{item.high:.3f})"
            )
        rows.append(tuple(row))
    header = ["model", *(f"{key} ms" for key in _QUANTILES), "frames/s", "frames"]
    notes = [FPS_NOTE]
    if compared:
        header.append("time ratio")
        notes.append(
            f"Time ratio: against {results[0].label}, with a 95% interval, from blocks of "
            f"{results[0].block} frames in turns in one process."
        )
    if any(result.latency_ns[key] is None for result in results for key in _QUANTILES):
        notes.append(FOOTNOTE)
    return Table(tuple(header), tuple(rows), 1, tuple(notes))


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
                str(plan.get("preprocess", UNSTATED)),
            )
        )
    header = ("model", "provider", "by", "device", "precision", "threads", "preprocess")
    return Table(header, tuple(rows), len(header))


def _precision(result: BenchResult) -> str:
    model = result.about.get("model") or {}
    stored, computed = str(model.get("precision") or ""), str(result.about["compute_precision"])
    return computed if stored in ("", computed) else f"{stored}, computed in {computed}"


def stages(result: BenchResult) -> Table:
    """One row per stage of a result, and its whole latency."""
    keys = ("mean", *_QUANTILES)
    lines: list[tuple[str, Summary]] = []
    for stage, summary in result.stages_ns.items():
        lines.append((stage, summary))
    lines.append(("latency", result.latency_ns))
    if any(value for value in result.samples_ns.get("age", ())):
        lines.append(("age", result.age_ns))
    shown = [summary[key] for _, summary in lines for key in keys]
    digits = decimals(shown)
    rows = tuple((name, *(ms(summary[key], digits) for key in keys)) for name, summary in lines)
    early = [stage for stage in _BEFORE_LATENCY if stage in result.stages_ns]
    notes = (f"Before the latency, and no part of it: {', '.join(early)}.",) if early else ()
    return Table(("stage", *(f"{key} ms" for key in keys)), rows, 1, notes)


def start_up(report: Report) -> Table:
    """One row per result: what happened before the first measured frame."""
    rows = []
    for result in report.results:
        warm = result.warmup_samples_ns.get("latency", ())
        spent = sum(value or 0 for value in warm)
        values = (result.opening_ns, result.first_frame_ns)
        rows.append(
            (
                result.label,
                *(ms(value, decimals([value])) for value in values),
                f"{len(warm):,}",
                ms(spent, decimals([spent])),
            )
        )
    header = ("model", "opening ms", "first frame ms", "warm-up frames", "warm-up latency ms")
    return Table(header, tuple(rows))


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
        ("governor", str(machine.get("governor") or "not told")),
        ("memory", f"{memory / 2**30:.1f} GiB"),
        (
            "system",
            f"{machine.get('system')} {machine.get('kernel')}, {machine.get('architecture')}",
        ),
        *((name, version) for name, version in report.versions.items()),
    ]
    return Table(("what", "value"), tuple(rows), 2)


def sources(report: Report) -> Table:
    """One row per result: the frames that it got."""
    rows = []
    for result in report.results:
        source = result.source
        size = source.get("size_wh")
        again = source.get("loops") or 0
        rows.append(
            (
                result.label,
                str(source.get("name")),
                str(source.get("kind")),
                f"{size[0]}x{size[1]}" if size else UNSTATED,
                f"{again + 1} times" if again else "once",
            )
        )
    return Table(("model", "source", "kind", "size", "shown"), tuple(rows), 5)


_EVIDENCE = (
    ("throttled_share", "time stopped by the CPU quota", "{:.2%}"),
    ("throttled_periods", "periods throttled by the quota", "{:.0f}"),
    ("steal_share", "processor time given to other machines", "{:.2%}"),
    ("thermal_events", "slow-downs for heat", "{:.0f}"),
    ("clock_fall", "fall of the clock during the run", "{:.1%}"),
)


def evidence(report: Report) -> Table:
    """What was seen of the box and the outputs during the run, one column per run."""
    runs = report.validity.evidence.get("runs") or [report.validity.evidence]
    lines: dict[str, list[str]] = {}
    for run in runs:
        for what, value in _seen(run):
            lines.setdefault(what, []).append(value)
    rows = tuple((what, " · ".join(dict.fromkeys(values))) for what, values in lines.items())
    return Table(("what", "seen"), rows, 2)


def _seen(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    before, after = run.get("before") or {}, run.get("after") or {}
    found = [("governor", str(before.get("governor") or "not told"))]
    clocks = [state.get("cpu_mhz") for state in (before, after)]
    told = [f"{clock:,.0f} MHz" if clock else "not told" for clock in clocks]
    found.append(("clock before and after", " → ".join(told)))
    loads = [(state.get("load") or [None])[0] for state in (before, after)]
    told = ["not told" if load is None else f"{load:.2f}" for load in loads]
    found.append(("load average before and after", " → ".join(told)))
    for key, what, form in _EVIDENCE:
        value = run.get(key)
        found.append((what, "not told" if value is None else form.format(value)))
    for label, model in (run.get("models") or {}).items():
        compared, changed = model.get("outputs_compared", 0), model.get("outputs_changed", 0)
        found.append((f"outputs of {label}", f"{changed} of {compared:,} repeated frames differed"))
    return found


def render(table: Table, *, indent: str = "") -> str:
    """A table as aligned text."""
    lines = [table.header, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.header))]
    return "\n".join(indent + _line(line, widths, table.text_columns) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], text_columns: int) -> str:
    padded = [
        cell.ljust(width) if column < text_columns else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def summary_table(report: Report) -> str:
    """What a terminal shows: verdict, headline, stage means; plain text, columns aligned."""
    table = headline(report)
    parts = [render(table), "", render(_stage_means(report))]
    parts += ["", *table.notes]
    parts += [f"Note: {note}" for note in report.validity.notes]
    verdict = report.validity.verdict
    if report.valid:
        parts += ["", f"{verdict}: nothing was seen that speaks against these numbers."]
    else:
        parts += ["", f"{verdict}:", *(f"  {reason}" for reason in report.validity.reasons)]
    return "\n".join(parts)


def _stage_means(report: Report) -> Table:
    means = [result.stage_means() for result in report.results]
    names = list(dict.fromkeys(name for parts in means for name in parts))
    digits = decimals(value for parts in means for value in parts.values())
    rows = tuple(
        (result.label, *(ms(parts.get(name), digits) for name in names))
        for result, parts in zip(report.results, means, strict=True)
    )
    return Table(("mean ms of", *names), rows)
