"""Accuracy against latency as a picture, with the frontier marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT, _MARGIN = 640, 400, 60
_COLOURS = {"fp32": "#4477aa", "fp16": "#228833", "int8": "#ee6677", "int8-dynamic": "#ccbb44"}


@dataclass(frozen=True)
class Dot:
    """A point of the plot.

    Attributes:
        label: beside the dot.
        series: decides the colour.
        x, y: where.
        best: whether it lies on the frontier.
    """

    label: str
    series: str
    x: float
    y: float
    best: bool


def scatter_svg(dots: Sequence[Dot], x_title: str, y_title: str, title: str) -> str:
    """A self-contained SVG; the frontier is a line through its dots."""
    x_low, x_high = _span([dot.x for dot in dots], zero=True)
    y_low, y_high = _span([dot.y for dot in dots])

    def at(dot_x: float, dot_y: float) -> tuple[float, float]:
        x = _MARGIN + (dot_x - x_low) / (x_high - x_low) * (_WIDTH - 2 * _MARGIN)
        y = _HEIGHT - _MARGIN - (dot_y - y_low) / (y_high - y_low) * (_HEIGHT - 2 * _MARGIN)
        return round(x, 1), round(y, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_WIDTH / 2}" y="24" text-anchor="middle" font-size="15">{escape(title)}</text>',
        *_axes(x_low, x_high, y_low, y_high, at),
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 14}" text-anchor="middle">{escape(x_title)}</text>',
        f'<text transform="translate(16 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_title)}</text>",
    ]
    frontier = sorted((dot for dot in dots if dot.best), key=lambda dot: dot.x)
    points = " ".join("{},{}".format(*at(dot.x, dot.y)) for dot in frontier)
    parts.append(f'<polyline points="{points}" fill="none" stroke="#999" stroke-dasharray="4"/>')
    for dot in dots:
        x, y = at(dot.x, dot.y)
        colour = _COLOURS.get(dot.series, "#888888")
        fill = colour if dot.best else "white"
        parts.append(f'<circle cx="{x}" cy="{y}" r="5" fill="{fill}" stroke="{colour}"/>')
        parts.append(f'<text x="{x + 8}" y="{y + 4}">{escape(dot.label)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axes(x_low: float, x_high: float, y_low: float, y_high: float, at: object) -> list[str]:
    place = at
    assert callable(place)
    lines = []
    for step in range(5):
        x_value = x_low + (x_high - x_low) * step / 4
        y_value = y_low + (y_high - y_low) * step / 4
        x, bottom = place(x_value, y_low)
        left, y = place(x_low, y_value)
        lines += [
            f'<line x1="{x}" y1="{bottom}" x2="{x}" y2="{_MARGIN}" stroke="#eee"/>',
            f'<line x1="{left}" y1="{y}" x2="{_WIDTH - _MARGIN}" y2="{y}" stroke="#eee"/>',
            f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{x_value:.3g}</text>',
            f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{y_value:.3g}</text>',
        ]
    return lines


def _span(values: Sequence[float], *, zero: bool = False) -> tuple[float, float]:
    low, high = (0.0 if zero else min(values)), max(values)
    room = (high - low) * 0.1 or abs(high) * 0.1 or 1.0
    return (low if zero else low - room), high + room
