"""One page that needs nothing else: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from edgeinfer.packages import need
from edgeinfer.timing import STAGES
from edgeinfer_bench import tables
from edgeinfer_bench.charts import histogram, rate_search, stage_stack, tail, timeline
from edgeinfer_bench.charts.axes import headline_samples, quantity, shared_scale
from edgeinfer_bench.charts.frame import series
from edgeinfer_bench.charts.timeline import drops_at, laid_out, throttled_at
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.tables.box import runs, throttled_spans
from edgeinfer_bench.tables.table import parted
from edgeinfer_bench.writers.lead import lead

# More results are a matrix: then one row each says more than one table each.
_IN_DETAIL = 3


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
    results = report.results
    detailed = results[:_IN_DETAIL] if len(results) <= _IN_DETAIL else ()
    measured = [result for result in results if result.frames]
    timelines = _timelines(report, measured)
    return str(
        _template().render(
            report=report,
            style=_file("page.css"),
            stages=(*STAGES, "other"),
            lead=lead(report),
            tables=tables,
            series={result.label: series(at) for at, result in enumerate(results)},
            detailed=detailed,
            timelines=timelines,
            shown=_shown(report, measured, timelines),
            distribution=_distribution(measured),
            searches=[
                (result.label, chart, tables.trials(result))
                for at, result in enumerate(results)
                if (chart := rate_search(result, at))
            ],
            bars=stage_stack([(result.label, result.stage_means()) for result in measured]),
            profiled=[result for result in detailed if result.operators is not None],
            quantity=quantity(results),
        )
    )


@cache
def _template() -> Any:
    environment = need("jinja2").Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["parted"] = parted
    return environment.from_string(_file("page.html.j2"))


def _file(name: str) -> str:
    return resources.files("edgeinfer_bench.writers").joinpath(name).read_text("utf-8")


def _timelines(report: Report, measured: Sequence[BenchResult]) -> list[tuple[str, str]]:
    """Label and plot of each result; a few share the axis of latency, each of many has its own."""
    alike = len(measured) <= _IN_DETAIL
    order = {result.label: at for at, result in enumerate(report.results)}
    spans = _throttled(report)
    plots = []
    for result in measured:
        y = shared_scale(measured if alike else [result], from_zero=True)
        plots.append((result.label, timeline(result, y, spans, order[result.label])))
    return plots


def _throttled(report: Report) -> list[Sequence[int]]:
    return [span for run in runs(report) for span in throttled_spans(run)]


def _shown(
    report: Report, measured: Sequence[BenchResult], timelines: Sequence[tuple[str, str]]
) -> dict[str, bool]:
    """Which marks the timelines carry: a legend names only those."""
    stretches = [laid_out(result) for result in measured]
    return {
        "processes": any(len(each) > 1 for each in stretches),
        "drops": any(drops_at(each) for each in stretches),
        "throttled": any(throttled_at(each, _throttled(report)) for each in stretches),
        "limit": any('class="limit"' in plot for _, plot in timelines),
    }


def _distribution(measured: Sequence[BenchResult]) -> dict[str, str] | None:
    if not measured:
        return None
    x = shared_scale(measured, from_zero=False)
    samples = {result.label: headline_samples(result) for result in measured}
    name = quantity(measured)
    return {"histogram": histogram(samples, x, name), "tail": tail(samples, x, name)}
