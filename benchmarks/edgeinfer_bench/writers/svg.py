"""The headline as a picture for a README: text stays text, colours follow the reader's scheme."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.tables import Table
from edgeinfer_bench.tables.headline import Column, parts, table
from edgeinfer_bench.tables.table import parted

_SIZE = 14
_ROW, _ROW_WITH_INTERVAL, _HEAD = 36, 48, 34
_MARGIN, _GAP = 24, 26
# Columns more spare than this are left to the report itself.
_SPARE = 4
_BAR = 110
_LABEL = 40
# Widths in em that hold in the fonts a browser may choose; there is no font here to ask.
_DIGIT, _LETTER, _BOLD, _WIDE = 0.6, 0.56, 1.07, 1.0

_STYLE = """
text { font: 14px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  fill: #17191c; font-variant-numeric: tabular-nums; }
.paper { fill: #fbfbfa; stroke: #dfe0dd; } .bar { fill: #2563a8; }
.rule { stroke: #dfe0dd; shape-rendering: crispEdges; } .soft { fill: #5a6068; font-size: 12px; }
.b { font-weight: 600; } .good { fill: #1b6a43; font-weight: 650; }
.bad { fill: #a3261c; font-weight: 650; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8e9eb; } .paper { fill: #131518; stroke: #2d3137; } .rule { stroke: #2d3137; }
  .bar { fill: #6fabea; } .soft { fill: #9ea5ae; }
  .good { fill: #7fcea3; } .bad { fill: #f3978c; }
}
"""


@dataclass(frozen=True)
class Place:
    """Where a column lies: its left and right edge, in pixels."""

    left: float
    right: float


def svg_text(report: Report) -> str:
    """One table per scenario under a line that says the box, the day and the verdict."""
    blocks = []
    widths = []
    top = _MARGIN + 28.0
    groups = parts(report)
    for scenario, columns, _ in groups:
        results = [result for result in report.results if result.scenario == scenario]
        shown = _shown(columns)
        if len(groups) > 1:
            blocks.append(_text(_MARGIN, top + 24, scenario, "b"))
            top += 24
        places = _places(shown)
        block, bottom = _table(shown, results, places, top)
        blocks.append(block)
        widths.append(places[-1].right)
        top = bottom
    head, needed = _header(report)
    width = max([*widths, needed]) + _MARGIN
    rules = f'<path class="rule" d="M{_MARGIN} {_MARGIN + 30}H{width - _MARGIN:.0f}"/>'
    title = escape(f"Benchmark of {', '.join(result.label for result in report.results)}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {top + 12:.0f}" '
        f'width="{width:.0f}" height="{top + 12:.0f}" role="img"><title>{title}</title>'
        f"<style>{_STYLE}</style>"
        f'<rect class="paper" x=".5" y=".5" width="{width - 1:.0f}" height="{top + 11:.0f}" '
        f'rx="8"/>{head}{rules}{"".join(blocks)}</svg>\n'
    )


def _header(report: Report) -> tuple[str, float]:
    """Verdict, scenario, box and day in one line, and its right edge."""
    verdict = report.validity.verdict
    scenarios = ", ".join(dict.fromkeys(result.scenario for result in report.results))
    about = f"{scenarios} · {report.machine.get('cpu')} · {report.created[:10]}"
    left = _MARGIN + _width(verdict, bold=True) + 14
    text = _text(_MARGIN, _MARGIN + 13, verdict, "good" if report.valid else "bad")
    return text + _text(left, _MARGIN + 13, about, "soft"), left + _width(about)


def _shown(columns: Sequence[Column]) -> Table:
    full = table([column for column in columns if column.spare <= _SPARE])
    rows = tuple((_cut(row[0]), *row[1:]) for row in full.rows)
    return Table(full.header, rows, full.text_columns)


def _cut(label: str) -> str:
    half = _LABEL // 2
    return label if len(label) <= _LABEL else f"{label[: half - 1]}…{label[-half:]}"


def _places(shown: Table) -> list[Place]:
    places = []
    left = float(_MARGIN)
    for at, name in enumerate(shown.header):
        left += _BAR + _GAP if at == 1 else 0
        texts = [part for row in shown.rows for part in parted(row[at])]
        widest = max([_width(name), *(_width(text, bold=at < 2) for text in texts)])
        places.append(Place(left, left + widest))
        left += widest + _GAP
    return places


def _table(
    shown: Table, results: Sequence[BenchResult], places: Sequence[Place], top: float
) -> tuple[str, float]:
    """The table as SVG, and where it ends."""
    drawn = [
        _cell(place, top + 22, name, "soft", number=at >= shown.text_columns)
        for at, (name, place) in enumerate(zip(shown.header, places, strict=True))
    ]
    top += _HEAD
    figures = [_figure(result) for result in results]
    right = places[-1].right
    for number, row in enumerate(shown.rows):
        intervals = any(parted(cell)[1] for cell in row)
        middle = top + (20 if intervals else 23)
        for at, (cell, place) in enumerate(zip(row, places, strict=True)):
            value, interval = parted(cell) if at else (cell, "")
            css = "b" if at < 2 else ""
            drawn.append(_cell(place, middle, value, css, number=at >= shown.text_columns))
            if interval:
                drawn.append(_cell(place, middle + 16, interval, "soft", number=True))
        drawn.append(_bar(places[0].right + _GAP, middle - 10, figures[number], max(figures)))
        top += _ROW_WITH_INTERVAL if intervals else _ROW
        if number + 1 < len(shown.rows):
            drawn.append(f'<path class="rule" d="M{_MARGIN} {top:.0f}H{right:.0f}"/>')
    return "".join(drawn), top


def _figure(result: BenchResult) -> float:
    """What the bar shows: the first figure of the row."""
    if result.scenario == "offline":
        return result.fps
    if result.scenario == "server":
        return float(result.arrival.get("rate") or 0)
    return float(result.headline_ns["p50"] or result.headline_ns["mean"] or 0)


def _bar(left: float, top: float, value: float, most: float) -> str:
    width = 0.0 if not most else max(1.0, _BAR * value / most)
    return (
        f'<rect class="bar" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="10" rx="2"/>'
    )


def _cell(place: Place, y: float, text: str, css: str, *, number: bool) -> str:
    return _text(place.right if number else place.left, y, text, css, end=number)


def _text(x: float, y: float, text: str, css: str = "", *, end: bool = False) -> str:
    look = f' class="{css}"' if css else ""
    anchor = ' text-anchor="end"' if end else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{look}{anchor}>{escape(text)}</text>'


def _width(text: str, *, bold: bool = False) -> float:
    """Pixels that a text takes at most, in an ordinary font."""
    em = sum(_em(letter) for letter in text)
    return em * _SIZE * (_BOLD if bold else 1.0)


def _em(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return _WIDE
    if letter.isdigit() or letter.isupper() or letter in "mw@%":
        return _DIGIT if letter.isdigit() else 0.72
    return _LETTER
