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


@dataclass(frozen=True)
class Label:
    """A text inside the plot; its position goes from 0 to 1, y upwards."""

    x: float
    y: float
    text: str
    css: str = ""


def plot(
    shapes: Sequence[str],
    *,
    x_ticks: Sequence[Tick],
    y_ticks: Sequence[Tick],
    x_title: str,
    y_title: str,
    describe: str,
    labels: Sequence[Label] = (),
    css: str = "",
) -> str:
    """A plot as HTML.

    Args:
        shapes: SVG elements in units of 0 to 1000, y downwards.
        describe: what it shows, for those who cannot see it.
        css: more classes of the plot.
    """
    grid = "".join(
        f'<path class="grid" d="M0 {_down(tick.at)}H{UNITS}"/>' for tick in y_ticks
    ) + "".join(f'<path class="grid faint" d="M{_right(tick.at)} 0V{UNITS}"/>' for tick in x_ticks)
    texts = "".join(
        [
            *(_text("y", f"top:{100 * (1 - tick.at):.2f}%", tick.text) for tick in y_ticks),
            *(_text(_x_css(tick), f"left:{100 * tick.at:.2f}%", tick.text) for tick in x_ticks),
            *(_text(f"at {label.css}".strip(), _place(label), label.text) for label in labels),
        ]
    )
    below = f'<div class="x-title">{escape(x_title)}</div>' if x_title else ""
    return (
        f'<div class="{f"plot {css}".strip()}" role="img" aria-label="{escape(describe)}">'
        f'<div class="y-title">{escape(y_title)}</div><div class="area">'
        f'<svg viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none" aria-hidden="true">'
        f"{grid}{''.join(shapes)}</svg>{texts}</div>{below}</div>"
    )


def _text(css: str, style: str, text: str) -> str:
    return f'<span class="{css}" style="{style}">{escape(text)}</span>'


def _x_css(tick: Tick) -> str:
    """A label at the right edge ends there: centred, it would stand out of a phone's screen."""
    return "x last" if tick.at > 0.97 else "x"


def _place(label: Label) -> str:
    """Grow towards the middle, so that no text leaves the plot."""
    side = f"left:{100 * label.x:.2f}%"
    if label.x > 0.5:
        side = f"right:{100 * (1 - label.x):.2f}%"
    return f"{side};bottom:{100 * label.y:.2f}%"


def line(points: Sequence[tuple[float, float]], css: str) -> str:
    """A line through points whose coordinates go from 0 to 1, y upwards."""
    return f'<path class="{css}" d="M{_path(points)}"/>'


def area(points: Sequence[tuple[float, float]], css: str) -> str:
    """A closed, filled shape."""
    return f'<path class="{css}" d="M{_path(points)}Z"/>'


def dots(points: Sequence[tuple[float, float]], css: str) -> str:
    """Points: lines without length whose round ends the page gives a size."""
    return f'<path class="{css}" d="{"".join(f"M{_right(x)} {_down(y)}h0" for x, y in points)}"/>'


def span(left: float, right: float, css: str) -> str:
    """A column from the bottom to the top."""
    return area([(left, 0), (left, 1), (right, 1), (right, 0)], css)


def rules(positions: Sequence[float], css: str, bottom: float = 0.0, top: float = 1.0) -> str:
    """Upright lines at several places."""
    drawn = "".join(f"M{_right(at)} {_down(bottom)}V{_down(top)}" for at in positions)
    return f'<path class="{css}" d="{drawn}"/>'


def level(y: float, css: str) -> str:
    """A line from the left to the right."""
    return f'<path class="{css}" d="M0 {_down(y)}H{UNITS}"/>'


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
