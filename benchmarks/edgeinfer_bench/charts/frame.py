"""The frame around a plot: grid and labels. Labels are HTML over a stretched SVG, so that they keep
their size on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

# The drawing's own units; the page stretches it.
UNITS = 1000


@dataclass(frozen=True)
class Tick:
    """A label at a position from 0 (left, bottom) to 1."""

    at: float
    text: str


def plot(
    shapes: Sequence[str],
    *,
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
    x_title: str,
    y_title: str,
    describe: str,
) -> str:
    """A plot as HTML.

    Args:
        shapes: SVG elements in units of 0 to 1000, y downwards.
        describe: what it shows, for those who cannot see it.
    """
    grid = "".join(
        f'<path class="grid" d="M0 {_down(tick.at)}H{UNITS}"/>' for tick in y_ticks
    ) + "".join(f'<path class="grid faint" d="M{_right(tick.at)} 0V{UNITS}"/>' for tick in x_ticks)
    y_labels = "".join(
        f'<span class="y" style="top:{100 * (1 - tick.at):.2f}%">{escape(tick.text)}</span>'
        for tick in y_ticks
    )
    x_labels = "".join(
        f'<span class="x" style="left:{100 * tick.at:.2f}%">{escape(tick.text)}</span>'
        for tick in x_ticks
    )
    return (
        f'<div class="plot" role="img" aria-label="{escape(describe)}">'
        f'<div class="y-title">{escape(y_title)}</div><div class="area">'
        f'<svg viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none" aria-hidden="true">'
        f"{grid}{''.join(shapes)}</svg>{y_labels}{x_labels}</div>"
        f'<div class="x-title">{escape(x_title)}</div></div>'
    )


def line(points: Sequence[tuple[float, float]], css: str) -> str:
    """A line through points whose coordinates go from 0 to 1, y upwards."""
    return f'<path class="{css}" d="M{_path(points)}"/>'


def area(points: Sequence[tuple[float, float]], css: str) -> str:
    """A closed, filled shape."""
    return f'<path class="{css}" d="M{_path(points)}Z"/>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "L".join(f"{_right(x)} {_down(y)}" for x, y in points)


def _right(x: float) -> int:
    return round(x * UNITS)


def _down(y: float) -> int:
    return round((1 - y) * UNITS)


def number(value: float) -> str:
    """A tick's number: no needless zeros."""
    return f"{value:,.10g}" if value >= 1000 else f"{value:.4g}"


def series(index: int) -> str:
    """The CSS class of a result's colour; the page has eight."""
    return f"s{index % 8}"
