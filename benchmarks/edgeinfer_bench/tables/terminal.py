"""What a terminal shows of a report: within 100 columns, words and numbers only."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from edgeinfer_bench.report import Report
from edgeinfer_bench.tables.headline import FPS_NOTE, Column, parts, table
from edgeinfer_bench.tables.run import peers, stage_means, trials
from edgeinfer_bench.tables.table import Table, parted, render

COLUMNS = 100
# A label keeps at least this much of itself.
_LABEL = 24


def summary_table(report: Report) -> str:
    """Headline, stage means and verdict as plain text of at most 100 columns."""
    blocks = []
    notes: list[str] = []
    groups = parts(report)
    for scenario, columns, said in groups:
        title = f"{scenario}\n" if len(groups) > 1 else ""
        blocks.append(title + render(_fitting(columns)))
        notes += said
    blocks.append(render(_narrow(stage_means(report))))
    for result in report.results:
        if result.arrival.get("trials"):
            title = f"rates tried of {_shortened(result.label, 2 * _LABEL)}"
            blocks.append(f"{title}\n{render(trials(result), indent='  ')}")
    if peers(report).rows:
        blocks.append(render(_narrow(peers(report))))
    notes += [f"Note: {note}" for note in report.validity.notes]
    shown = [note for note in dict.fromkeys(notes) if note != FPS_NOTE]
    if shown:
        blocks.append("\n".join(_wrapped(note) for note in shown))
    blocks.append(_verdict(report))
    return "\n\n".join(blocks)


def _verdict(report: Report) -> str:
    verdict = report.validity.verdict
    if report.valid:
        return f"{verdict}: nothing was seen that speaks against these numbers."
    return "\n".join([f"{verdict}:", *(_wrapped(f"  {why}") for why in report.validity.reasons)])


def _wrapped(text: str) -> str:
    indent = " " * (len(text) - len(text.lstrip()) + 2)
    return textwrap.fill(text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False)


def _fitting(columns: Sequence[Column]) -> Table:
    """As much as there is room for: long labels give way first, then columns, then intervals."""
    kept = list(columns)
    while _width(_narrow(table(kept))) > COLUMNS and any(column.spare for column in kept):
        kept.remove(max(kept, key=lambda column: column.spare))
    if _width(_narrow(table(kept))) > COLUMNS:
        kept = [
            replace(column, cells=tuple(parted(cell)[0] for cell in column.cells))
            for column in kept
        ]
    return _narrow(table(kept))


def _width(shown: Table) -> int:
    return max(map(len, render(shown).splitlines()))


def _narrow(shown: Table) -> Table:
    """Shorten labels from their middle: their ends differ most often."""
    longest = max((len(row[0]) for row in shown.rows), default=0)
    room = max(_LABEL, longest - max(0, _width(shown) - COLUMNS))
    rows = tuple((_shortened(row[0], room), *row[1:]) for row in shown.rows)
    return replace(shown, rows=rows)


def _shortened(label: str, room: int) -> str:
    if len(label) <= room:
        return label
    front = (room - 1) // 2
    return f"{label[:front]}…{label[len(label) - (room - 1 - front) :]}"
