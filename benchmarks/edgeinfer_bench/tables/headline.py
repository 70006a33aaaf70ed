"""The table that a report opens with: one for each scenario in it, one row per result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeinfer_bench.relative import Versus, relatives
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.stats import MIN_PROCESSES
from edgeinfer_bench.tables.table import (
    UNSTATED,
    Table,
    decimals,
    ms,
    rate,
    share,
    with_interval,
)

FOOTNOTE = (
    "- is a quantile that so few frames cannot state: p50 takes 20 frames, p90 100, p99 1000, so "
    "that 10 lie beyond it."
)
FPS_NOTE = "Frames per second counts latency alone; reading and decoding frames lie before it."
AGE_NOTE = "Age runs from the moment a frame was due to its result, waiting included."
QUANTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9", "max": "max"}
_WITH_INTERVAL = ("p50", "p99")


@dataclass(frozen=True)
class Column:
    """One column of the headline.

    Attributes:
        name: what it holds, unit included.
        cells: one per result.
        spare: columns of a higher number are left out first where there is no room; 0 never.
    """

    name: str
    cells: tuple[str, ...]
    spare: int = 0


Results = Sequence[BenchResult]


def headline(report: Report) -> Table:
    """The headline of the report's first scenario."""
    return next(iter(headlines(report).values()))


def headlines(report: Report) -> Mapping[str, Table]:
    """One table per scenario, in the order in which they come."""
    return {scenario: table(found, notes) for scenario, found, notes in parts(report)}


def parts(report: Report) -> list[tuple[str, list[Column], tuple[str, ...]]]:
    """Scenario, columns and notes of each headline."""
    groups: dict[str, list[tuple[BenchResult, Versus | None]]] = {}
    for result, ratio in zip(report.results, relatives(report), strict=True):
        groups.setdefault(result.scenario, []).append((result, ratio))
    return [
        (
            scenario,
            _columns(scenario, group),
            _notes(report, scenario, group),
        )
        for scenario, group in groups.items()
    ]


def table(columns: Sequence[Column], notes: tuple[str, ...] = ()) -> Table:
    """Columns side by side."""
    rows = tuple(zip(*(column.cells for column in columns), strict=True))
    return Table(tuple(column.name for column in columns), rows, 1, notes)


def _columns(scenario: str, group: Sequence[tuple[BenchResult, Versus | None]]) -> list[Column]:
    results = [result for result, _ in group]
    columns = [
        Column("model", tuple(result.label for result in results)),
        *_OF_SCENARIO.get(scenario, _single)(results),
        Column("frames", tuple(f"{result.frames:,}" for result in results), 3),
        Column("processes", tuple(str(len(result.replicates)) for result in results), 6),
    ]
    if any(ratio is not None for _, ratio in group):
        columns.append(Column("time ratio", tuple(_ratio(ratio) for _, ratio in group), 1))
    return columns


def _single(results: Results) -> list[Column]:
    return [*_quantiles(results), _rate(results)]


def _paced(results: Results) -> list[Column]:
    missed = tuple(
        UNSTATED if result.missed is None else share(result.missed, result.frames)
        for result in results
    )
    dropped = tuple(
        share(result.dropped, sum(replicate.offered for replicate in result.replicates))
        for result in results
    )
    return [
        *_quantiles(results),
        Column("late", missed, 0),
        Column("dropped", dropped, 0),
        Column("arrivals/s", tuple(map(_arrivals, results)), 2),
    ]


def _arrivals(result: BenchResult) -> str:
    fps, streams = result.arrival.get("fps"), result.arrival.get("streams") or 1
    if fps is None:
        return UNSTATED
    return f"{fps:g}" if streams == 1 else f"{streams} × {fps:g}"


def _offline(results: Results) -> list[Column]:
    lanes = tuple(str(result.arrival.get("lanes", UNSTATED)) for result in results)
    return [_rate(results), Column("lanes", lanes, 2), *_quantiles(results)]


def _server(results: Results) -> list[Column]:
    rates = [result.arrival.get("rate") for result in results]
    digits = decimals(value * 1e6 if value else None for value in rates)
    targets = [result.arrival.get("target_ns") for result in results]
    target_digits = decimals(targets)
    held = tuple(
        UNSTATED
        if value is None
        else rate(value, digits) + ("" if result.rate_held is not False else " not held")
        for value, result in zip(rates, results, strict=True)
    )
    return [
        Column("rate held/s", held),
        Column("target ms", tuple(ms(value, target_digits) for value in targets)),
        *_quantiles(results, least=2),
    ]


_OF_SCENARIO: Mapping[str, Callable[[Results], list[Column]]] = {
    "single": _single,
    "paced": _paced,
    "offline": _offline,
    "server": _server,
}


def _quantiles(results: Results, least: int = 0) -> list[Column]:
    """Quantiles of what users wait for; `least`: how readily the median is left out."""
    of = "" if results[0].headline == "latency" else "age "
    digits = decimals(result.headline_ns[key] for result in results for key in QUANTILES)
    spare = {"p50": least, "p90": 4, "p99": 0, "p999": 5, "max": 4}
    columns = []
    for key, name in QUANTILES.items():
        if key == "p999" and all(result.headline_ns[key] is None for result in results):
            continue
        cells = tuple(_quantile(result, key, digits) for result in results)
        columns.append(Column(f"{of}{name} ms", cells, spare[key]))
    return columns


def _quantile(result: BenchResult, key: str, digits: int) -> str:
    value = result.headline_ns[key]
    text = ms(value, digits)
    found = result.ci95_ns.get(result.headline, {}).get(key)
    if value is None or found is None or key not in _WITH_INTERVAL:
        return text
    return with_interval(text, ms(found[0], digits), ms(found[1], digits))


def _rate(results: Results) -> Column:
    digits = decimals(result.fps * 1e6 for result in results)
    return Column("frames/s", tuple(rate(result.fps, digits) for result in results))


def _ratio(ratio: Versus | None) -> str:
    if ratio is None:
        return "1"
    return with_interval(f"{ratio.ratio:.3f}", f"{ratio.low:.3f}", f"{ratio.high:.3f}")


def _notes(
    report: Report, scenario: str, group: Sequence[tuple[BenchResult, Versus | None]]
) -> tuple[str, ...]:
    results = [result for result, _ in group]
    notes = []
    if scenario == "single":
        notes.append(FPS_NOTE)
    if results[0].headline == "age":
        notes.append(AGE_NOTE)
    if scenario == "paced":
        notes.append(_deadline_note(results))
    if any(result.ci95_ns.get(result.headline) for result in results):
        notes.append(_interval_note(results))
    if any(ratio is not None for _, ratio in group):
        notes.append(
            f"Time ratio: against {report.results[0].label}, with a 95% interval, from turns of "
            f"{report.results[0].block} frames."
        )
    if any(result.headline_ns[key] is None for result in results for key in ("p50", "p90", "p99")):
        notes.append(FOOTNOTE)
    return tuple(note for note in notes if note)


def _deadline_note(results: Results) -> str:
    deadlines = sorted({result.arrival.get("deadline_ns") or 0 for result in results} - {0})
    if not deadlines:
        return ""
    told = " or ".join(f"{value / 1e6:.4g} ms" for value in deadlines)
    return f"Late: answered after the deadline of {told}; dropped frames are not among them."


def _interval_note(results: Results) -> str:
    fewest = min(len(result.replicates) for result in results)
    note = "p50 and p99 carry their 95% intervals, which resample processes, then blocks of frames."
    if fewest < MIN_PROCESSES:
        note += f" From {fewest} process{'es' * (fewest > 1)} they say little about the next one."
    return note
