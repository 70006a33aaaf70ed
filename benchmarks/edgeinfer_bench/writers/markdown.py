"""A report to commit or to paste into an issue."""

from __future__ import annotations

import re

from edgeinfer_bench import tables
from edgeinfer_bench.report import Report
from edgeinfer_bench.tables import Table


def markdown_text(report: Report) -> str:
    """The report as GitHub-flavoured Markdown."""
    validity = report.validity
    parts = ["# Latency per frame", f"**{validity.verdict}**, measured {report.created}"]
    if validity.reasons:
        parts.append("\n".join(f"- {_escape(reason)}" for reason in validity.reasons))
    parts.append(markdown_table(tables.headline(report)))
    parts += ["## Where the time goes"]
    for result in report.results:
        parts += [f"### {_escape(result.label)}", markdown_table(tables.stages(result))]
    parts += ["## What ran", markdown_table(tables.ran(report))]
    parts += [markdown_table(tables.placement(report))]
    parts += ["## Frames and start", markdown_table(tables.sources(report))]
    parts += [markdown_table(tables.start_up(report))]
    if validity.notes:
        parts += ["## Notes", "\n".join(f"- {_escape(note)}" for note in validity.notes)]
    parts += ["## Box", markdown_table(tables.environment(report))]
    parts += ["## Repeat it", f"```sh\n{report.command}\n```"]
    return "\n\n".join(parts) + "\n"


def markdown_table(table: Table) -> str:
    """A table with its notes below."""
    marks = [":--" if column < table.text_columns else "--:" for column in range(len(table.header))]
    lines = [_row(table.header), "|" + "|".join(marks) + "|", *map(_row, table.rows)]
    return "\n".join([*lines, *(f"\n{_escape(note)}" for note in table.notes)])


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_escape, cells)) + " |"


def _escape(text: str) -> str:
    """Keep names of files and classes from becoming markup."""
    # An underscore inside a word is plain text already.
    escaped = re.sub(r"[\\|*<>\[\]`]|(?<!\w)_|_(?!\w)", lambda mark: "\\" + mark.group(), text)
    return escaped.replace("\n", " ")
