"""Tables of texts, and how numbers become texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UNSTATED = "-"


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


def with_interval(text: str, low: str, high: str) -> str:
    """A number and where it may lie: ``5.12 (5.08–5.20)``."""
    return f"{text} ({low}–{high})"


def parted(cell: str) -> tuple[str, str]:
    """Undo `with_interval`: the number and its interval, the latter empty where there is none."""
    number, bracket, rest = cell.partition(" (")
    if bracket and rest.endswith(")") and "–" in rest:
        return number, rest[:-1]
    return cell, ""


def rate(value: float, digits: int) -> str:
    """Frames per second."""
    return f"{value:,.{digits}f}"


def share(part: float, whole: float) -> str:
    """A percentage of which nothing above 0 becomes 0: ``<0.01%``."""
    if not whole:
        return UNSTATED
    percent = 100 * part / whole
    if not percent:
        return "0%"
    return "<0.01%" if percent < 0.01 else f"{percent:.3g}%" if percent < 100 else "100%"


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
