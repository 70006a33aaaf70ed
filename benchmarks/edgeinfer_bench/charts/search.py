"""What more arrivals do to the age of results: the trials of the search for the highest rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeinfer_bench.charts.axes import limit_ns, time_ticks, title
from edgeinfer_bench.charts.frame import Label, Tick, dots, level, line, number, plot, rules, series
from edgeinfer_bench.charts.scale import Scale, latency_scale
from edgeinfer_bench.result import BenchResult

Trials = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Axis:
    """What is shown against the rate, one value per trial."""

    values: Sequence[float]
    limit: float
    scale: Scale
    ticks: Sequence[Tick]
    title: str
    limit_text: str


def rate_search(result: BenchResult, index: int = 0) -> str | None:
    """The trials, one dot each: age at the 99th percentile against the rate of arrivals.

    Trials that were given up early cannot state an age; then the share of late frames is shown.

    Returns:
        None where there are fewer than two rates.
    """
    trials = sorted(result.arrival.get("trials") or (), key=lambda trial: float(trial["rate"]))
    rates = [float(trial["rate"]) for trial in trials]
    if len(set(rates)) < 2:
        return None
    margin = (rates[-1] - rates[0]) * 0.06
    x = Scale(rates[0] - margin, rates[-1] + margin)
    y = _axis(trials, result)
    points = [(x.at(rate), y.scale.at(value)) for rate, value in zip(rates, y.values, strict=True)]
    shapes = [
        line(points, f"line thin {series(index)}"),
        level(y.scale.at(y.limit), "limit"),
    ]
    labels = [Label(0, y.scale.at(y.limit), y.limit_text, "limit")]
    found = float(result.arrival.get("rate") or 0)
    if x.low <= found <= x.high:
        shapes.append(rules([x.at(found)], "border"))
        labels.append(Label(x.at(found), 0.9, f"{found:.4g}/s held", "found"))
    for held, css in ((True, "dot"), (False, "dot missed")):
        pairs = zip(points, trials, strict=True)
        places = [point for point, trial in pairs if bool(trial.get("held")) is held]
        shapes.append(dots(places, f"{css} {series(index)}"))
    return plot(
        shapes,
        x_ticks=[Tick(x.at(tick), number(tick)) for tick in x.ticks()],
        y_ticks=y.ticks,
        x_title="arrivals per second",
        y_title=y.title,
        describe=f"Trials of {result.label}: {y.title} against the rate of arrivals",
        labels=labels,
    )


def _axis(trials: Trials, result: BenchResult) -> _Axis:
    ages = [trial.get("age_p99_ns") for trial in trials]
    limit = limit_ns(result)
    known = [float(age) for age in ages if age]
    if limit is not None and len(known) == len(trials):
        scale = latency_scale(min(known), min(known), max(*known, float(limit)), from_zero=True)
        target = f"target {limit / 1e6:.4g} ms"
        return _Axis(known, limit, scale, time_ticks(scale), title("age p99", scale), target)
    shares = [trial.get("late", 0) / max(1, trial["frames"]) for trial in trials]
    allowed = 1 - float(result.arrival.get("quantile") or 0.99)
    scale = Scale(0, max(*shares, allowed) * 1.08)
    ticks = [Tick(scale.at(tick), f"{number(tick * 100)}%") for tick in scale.ticks()]
    told = f"{number(100 * allowed)}% allowed"
    return _Axis(shares, allowed, scale, ticks, "frames beyond the target", told)
