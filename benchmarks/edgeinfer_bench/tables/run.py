"""What happened in the run: processes, stages, idle gaps, energy, the search for a rate, peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from edgeinfer.timing import typical
from edgeinfer_bench.relative import relatives
from edgeinfer_bench.replicate import Replicate
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult, Summary
from edgeinfer_bench.tables.headline import QUANTILES
from edgeinfer_bench.tables.table import UNSTATED, Table, decimals, ms, share, with_interval

_BEFORE_LATENCY = ("capture", "queue")
# More rows than this are no table that anybody reads: then one row per result.
_MAX_PROCESS_ROWS = 24


def stages(result: BenchResult) -> Table:
    """One row per stage of a result, its whole latency and, where frames wait, their age."""
    keys = ("mean", *QUANTILES)
    lines: list[tuple[str, Summary]] = list(result.stages_ns.items())
    lines.append(("latency", result.latency_ns))
    if result.headline == "age" or result.age_ns != result.latency_ns:
        lines.append(("age", result.age_ns))
    if all(summary["p999"] is None for _, summary in lines):
        keys = tuple(key for key in keys if key != "p999")
    digits = decimals(summary[key] for _, summary in lines for key in keys)
    rows = tuple((name, *(ms(summary[key], digits) for key in keys)) for name, summary in lines)
    early = [stage for stage in _BEFORE_LATENCY if stage in result.stages_ns]
    notes = (f"Before the latency, and no part of it: {', '.join(early)}.",) if early else ()
    header = ("stage", *(f"{QUANTILES.get(key, key)} ms" for key in keys))
    return Table(header, rows, 1, notes)


def stage_means(report: Report) -> Table:
    """One row per result: mean of each part of the latency; they add up."""
    means = [result.stage_means() for result in report.results]
    names = list(dict.fromkeys(name for parts in means for name in parts))
    digits = decimals(value for parts in means for value in parts.values())
    rows = tuple(
        (result.label, *(ms(parts.get(name), digits) for name in names))
        for result, parts in zip(report.results, means, strict=True)
    )
    return Table(("mean ms of", *names), rows)


def processes(report: Report) -> Table:
    """One row per process; of many, one per result with the smallest and the largest."""
    count = sum(len(result.replicates) for result in report.results)
    notes = _broken(report)
    if count > _MAX_PROCESS_ROWS:
        rows = tuple(_range_row(result) for result in report.results)
        return Table(("model", "processes", *_PROCESS_HEADER), rows, 1, notes)
    digits = [decimals(values) for values in zip(*map(_times, _all(report)), strict=True)]
    several = len(report.results) > 1
    rows = tuple(
        (
            *([result.label] if several else []),
            str(number),
            *(ms(value, digit) for value, digit in zip(_times(replicate), digits, strict=True)),
            *map("{:,}".format, _counts(replicate)),
        )
        for result in report.results
        for number, replicate in enumerate(result.replicates, 1)
    )
    who = ("model", "process") if several else ("process",)
    return Table((*who, *_PROCESS_HEADER), rows, 1, notes)


_PROCESS_HEADER = (
    "opening ms",
    "first frame ms",
    "median ms",
    "warm-up frames",
    "frames",
    "dropped",
)


def _all(report: Report) -> list[Replicate]:
    return [replicate for result in report.results for replicate in result.replicates]


def _times(replicate: Replicate) -> tuple[float | None, ...]:
    latency = replicate.column("latency")
    return (
        replicate.opening_ns,
        replicate.first_frame_ns,
        median(latency) if latency else None,
    )


def _counts(replicate: Replicate) -> tuple[int, ...]:
    warm = len(replicate.warmup_samples_ns.get("latency", ()))
    return warm, replicate.frames, len(replicate.drops_at_ns)


def _range_row(result: BenchResult) -> tuple[str, ...]:
    cells = [result.label, str(len(result.replicates))]
    for column in zip(*map(_times, result.replicates), strict=True):
        known = [value for value in column if value is not None]
        digits = decimals(known)
        cells.append(_range([ms(value, digits) for value in sorted(known)]))
    counted = zip(*map(_counts, result.replicates), strict=True)
    return (*cells, *(_range([f"{value:,}" for value in sorted(counts)]) for counts in counted))


def _range(texts: Sequence[str]) -> str:
    if not texts:
        return UNSTATED
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]}–{texts[-1]}"


def _broken(report: Report) -> tuple[str, ...]:
    return tuple(
        f"{result.label}, process {number} broke down: {replicate.evidence['error']}"
        for result in report.results
        for number, replicate in enumerate(result.replicates, 1)
        if replicate.evidence.get("error")
    )


def idle_gap(report: Report) -> Table:
    """One row per result whose frames were paced: what waiting for them costs."""
    found = []
    for result in report.results:
        busy = [value for each in result.replicates for value in each.back_to_back_ns]
        paced = [value for each in result.replicates for value in each.column("latency")]
        if busy and paced:
            found.append((result.label, median(busy), median(paced)))
    digits = decimals(value for _, *pair in found for value in pair)
    rows = tuple(
        (label, ms(busy, digits), ms(paced, digits), f"{paced / max(1, busy):.2f}")
        for label, busy, paced in found
    )
    note = (
        "Median latency of the same frames back to back and as they arrived: above 1, caches cool "
        "and clocks fall while the model waits."
    )
    header = ("model", "back to back ms", "as they arrived ms", "ratio")
    return Table(header, rows, 1, (note,) if rows else ())


def energy(report: Report) -> Table:
    """One row per result whose box told what it used."""
    rows = tuple(
        (
            result.label,
            str(result.energy.get("source")),
            f"{1e3 * result.energy['joules_per_frame']:,.4g}",
        )
        for result in report.results
        if result.energy is not None and result.energy.get("joules_per_frame") is not None
    )
    return Table(("model", "measured by", "mJ per frame"), rows, 2)


def trials(result: BenchResult) -> Table:
    """One row per rate that the search tried, slowest first."""
    tried = sorted(result.arrival.get("trials") or (), key=lambda trial: float(trial["rate"]))
    digits = decimals(float(trial["rate"]) * 1e6 for trial in tried)
    age_digits = decimals(trial.get("age_p99_ns") for trial in tried)
    rows = tuple(
        (
            "held" if trial.get("held") else "not held",
            f"{float(trial['rate']):,.{digits}f}",
            f"{trial.get('frames', 0):,}",
            share(trial.get("late", 0), trial.get("frames", 0)),
            ms(trial.get("age_p99_ns"), age_digits),
        )
        for trial in tried
    )
    note = "A trial ends when more frames are late than its rate may have; its age is then unknown."
    given_up = any(trial.get("age_p99_ns") is None for trial in tried)
    header = ("verdict", "arrivals/s", "frames", "late", "age p99 ms")
    return Table(header, rows, 1, (note,) if given_up else ())


def peers(report: Report) -> Table:
    """One row per result, where some of them come from other runtimes."""
    found = [result.about.get("peer") for result in report.results]
    if not any(found):
        return Table(("runtime", "model"), ())
    digits = decimals(typical(result.headline_ns) for result in report.results)
    rows = []
    lines = zip(report.results, found, relatives(report), strict=True)
    for number, (result, peer, ratio) in enumerate(lines):
        rows.append(
            (
                result.label,
                f"{peer['name']} {peer.get('version') or ''}".strip() if peer else "edgeinfer",
                _agreement(peer),
                ms(typical(result.headline_ns), digits),
                with_interval(f"{ratio.ratio:.3f}", f"{ratio.low:.3f}", f"{ratio.high:.3f}")
                if ratio
                else ("1" if number == 0 else UNSTATED),
            )
        )
    note = f"Time ratio: against {report.results[0].label}, measured in turns on the same frames."
    header = ("model", "runtime", "results agree", "median ms", "time ratio")
    return Table(header, tuple(rows), 3, (note, *_disagreements(report)))


def _agreement(peer: Mapping[str, Any] | None) -> str:
    """On how many frames its results are the first's, see `peers.agree.Agreement.to_dict`."""
    told = peer.get("agreement") if peer else None
    if not isinstance(told, Mapping):
        return UNSTATED if told is None else str(told)
    return f"on {told['same']:,} of {told['frames']:,} frames"


def _disagreements(report: Report) -> tuple[str, ...]:
    """What those say whose results are not the first's on each frame."""
    notes = []
    for result in report.results:
        told = (result.about.get("peer") or {}).get("agreement")
        if isinstance(told, Mapping) and told["same"] < told["frames"] and told.get("sentence"):
            notes.append(f"{result.label}: {told['sentence']}")
    return tuple(notes)
