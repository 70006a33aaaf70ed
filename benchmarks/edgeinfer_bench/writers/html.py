"""One page that needs nothing else: no network, no script."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from edgeinfer.packages import need
from edgeinfer.timing import format_ns, typical
from edgeinfer_bench import tables
from edgeinfer_bench.charts import histogram, stage_stack, tail, timeline
from edgeinfer_bench.charts.frame import series
from edgeinfer_bench.charts.scale import latency_scale
from edgeinfer_bench.relative import relatives
from edgeinfer_bench.report import Report

_TEMPLATE = "page.html.j2"


def check_html() -> None:
    """Raise unless pages can be written here.

    Raises:
        MissingPackageError: if jinja2 is not installed.
    """
    need("jinja2")


def html_text(report: Report) -> str:
    """The report as one HTML page.

    Raises:
        MissingPackageError: if jinja2 is not installed.
    """
    latencies = {
        result.label: np.asarray(result.samples_ns["latency"], np.int64)
        for result in report.results
    }
    measured = {label: values for label, values in latencies.items() if len(values)}
    return str(
        _template().render(
            report=report,
            lead=_lead(report),
            headline=tables.headline(report),
            ran=tables.ran(report),
            stages=[(result.label, tables.stages(result)) for result in report.results],
            start_up=tables.start_up(report),
            sources=tables.sources(report),
            placement=tables.placement(report),
            environment=tables.environment(report),
            evidence=tables.evidence(report),
            series={result.label: series(at) for at, result in enumerate(report.results)},
            charts=_charts(measured) if measured else None,
            bars=stage_stack([(result.label, result.stage_means()) for result in report.results]),
        )
    )


@cache
def _template() -> Any:
    text = resources.files("edgeinfer_bench.writers").joinpath(_TEMPLATE).read_text("utf-8")
    environment = need("jinja2").Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(text)


def _charts(latencies: dict[str, Any]) -> dict[str, str]:
    smallest = min(float(values.min()) for values in latencies.values())
    usual = min(float(np.median(values)) for values in latencies.values())
    largest = max(float(values.max()) for values in latencies.values())
    y = latency_scale(smallest, usual, largest, from_zero=True)
    x = latency_scale(smallest, usual, largest, from_zero=False)
    return {
        "timeline": timeline(latencies, y),
        "histogram": histogram(latencies, x),
        "tail": tail(latencies, x),
    }


def _lead(report: Report) -> str:
    """What the report says in one sentence."""
    if len(report.results) == 1:
        result = report.results[0]
        word = "median" if result.latency_ns["p50"] is not None else "mean"
        sentence = f"{format_ns(typical(result.latency_ns))} {word} per frame"
        p99 = result.latency_ns["p99"]
        return f"{sentence}, 99 in 100 within {format_ns(p99)}." if p99 else f"{sentence}."
    said = []
    for result, item in zip(report.results, relatives(report), strict=True):
        if item is None:
            continue
        first = report.results[0].label
        if not item.significant:
            said.append(f"{result.label} and {first} take the same time, as far as can be told.")
        else:
            word = "less" if item.ratio < 1 else "more"
            said.append(
                f"{result.label} takes {abs(1 - item.ratio):.0%} {word} time per frame than "
                f"{first}."
            )
    return " ".join(said)
