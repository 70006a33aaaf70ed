"""A report to commit or to paste into an issue."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edgeinfer_bench import tables
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.tables import Table
from edgeinfer_bench.writers.lead import lead

# More results are a matrix: then one row each says more than one table each.
_IN_DETAIL = 3


def markdown_text(report: Report) -> str:
    """The report as GitHub-flavoured Markdown."""
    return "\n\n".join(part for part in _parts(report) if part) + "\n"


def _parts(report: Report) -> Iterator[str]:
    validity = report.validity
    labels = [result.label for result in report.results]
    more = f", and {len(labels) - 3} more" if len(labels) > 3 else ""
    yield "# Benchmark: " + _escape(", ".join(labels[:3]) + more)
    yield _escape(lead(report))
    yield f"**{validity.verdict}**, measured {report.created}"
    yield "\n".join(f"- {_escape(reason)}" for reason in validity.reasons)
    headlines = tables.headlines(report)
    for scenario, table in headlines.items():
        if len(headlines) > 1:
            yield f"### {scenario}"
        yield markdown_table(table)
    yield from _section("Against other runtimes", tables.peers(report))
    yield from _stages(report)
    for result in report.results:
        if result.arrival.get("trials"):
            yield from _section(f"Rates tried of {result.label}", tables.trials(result))
    if len(report.results) <= _IN_DETAIL:
        for result in report.results:
            yield from _operators(result)
    yield from _section("Energy", tables.energy(report))
    yield from _section("What waiting costs", tables.idle_gap(report))
    yield from _section("Processes", tables.processes(report))
    yield from _section("What ran", tables.ran(report), tables.placement(report))
    yield from _section("Frames", tables.sources(report))
    if validity.notes:
        yield "## Notes"
        yield "\n".join(f"- {_escape(note)}" for note in validity.notes)
    yield from _section("Box", tables.environment(report))
    yield from _section("Evidence", tables.evidence(report))
    yield f"## Repeat it\n\n```sh\n{report.command}\n```"


def _section(title: str, *shown: Table) -> Iterator[str]:
    filled = [table for table in shown if table.rows or table.notes]
    if filled:
        yield f"## {_escape(title)}"
    for table in filled:
        yield markdown_table(table)


def _stages(report: Report) -> Iterator[str]:
    if len(report.results) > _IN_DETAIL:
        yield from _section("Where the time goes", tables.stage_means(report))
        return
    yield "## Where the time goes"
    for result in report.results:
        yield f"### {_escape(result.label)}"
        yield markdown_table(tables.stages(result))


def _operators(result: BenchResult) -> Iterator[str]:
    types, top = tables.operator_types(result), tables.top_operators(result)
    yield from _section(f"Operators of {result.label}", types, top)


def markdown_table(table: Table) -> str:
    """A table with its notes below."""
    notes = [f"\n{_escape(note)}" for note in table.notes]
    if not table.rows:
        return "\n".join(notes).strip()
    marks = [":--" if column < table.text_columns else "--:" for column in range(len(table.header))]
    lines = [_row(table.header), "|" + "|".join(marks) + "|", *map(_row, table.rows)]
    return "\n".join([*lines, *notes])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    """Keep names of files and classes from becoming markup."""
    # An underscore inside a word is plain text already.
    escaped = re.sub(r"[\\|*<>\[\]`]|(?<!\w)_|_(?!\w)", lambda mark: "\\" + mark.group(), text)
    return escaped.replace("\n", " ")
