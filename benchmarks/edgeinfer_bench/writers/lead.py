"""What a report says in one or two sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeinfer.timing import format_ns, typical
from edgeinfer_bench.options import DEFAULT_REPLICATES
from edgeinfer_bench.recorder import late
from edgeinfer_bench.relative import Versus, relatives
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.tables.table import share


def lead(report: Report) -> str:
    """The answer that a reader came for; empty where no frame was measured."""
    if not any(result.frames for result in report.results):
        return ""
    if len(report.results) == 1:
        result = report.results[0]
        return _OF_SCENARIO.get(result.scenario, _single)(result)
    return _compared(report) or _best(report)


def _single(result: BenchResult) -> str:
    median = result.latency_ns["p50"] is not None
    sentence = f"{format_ns(typical(result.latency_ns))} {'median' if median else 'mean'} per frame"
    return f"{sentence}{_tail(result)}."


def _tail(result: BenchResult) -> str:
    p99 = result.headline_ns["p99"]
    return f", 99 in 100 within {format_ns(p99)}" if p99 else ""


def _paced(result: BenchResult) -> str:
    fps, streams = result.arrival.get("fps"), result.arrival.get("streams") or 1
    cameras = f"{streams} streams of " if streams > 1 else ""
    begin = f"At {cameras}{fps:g} frames a second, the" if fps else "The"
    word = "mean" if result.age_ns["p50"] is None else "median"
    sentence = f"{begin} {word} result is {format_ns(typical(result.age_ns))} old{_tail(result)}"
    offered = sum(replicate.offered for replicate in result.replicates)
    lost = f"{share(result.dropped, offered)} of the frames were dropped"
    if not result.dropped:
        lost = "no frame was dropped"
    if result.missed is None:
        return f"{sentence}; {lost}."
    missed = f"{share(result.missed, result.frames)} of the results were late"
    return f"{sentence}; {missed if result.missed else 'none was late'}, {lost}."


def _offline(result: BenchResult) -> str:
    lanes = result.arrival.get("lanes")
    by = f" with {lanes} lane{'s' * (lanes > 1)}" if lanes else ""
    return f"{result.fps:,.4g} frames a second{by}."


def _server(result: BenchResult) -> str:
    rate, target = result.arrival.get("rate"), result.arrival.get("target_ns")
    if not rate:
        return f"No rate was found at which 99 in 100 frames are answered within {_ms(target)}."
    timely = result.frames - late(result.samples_ns, target or 0)
    answered = f"{100 * timely / max(1, result.frames):.4g} in 100 were answered within"
    if not result.rate_held:
        return (
            f"Does not hold the {rate:,.4g} frames a second, arriving at random, that the search "
            f"found: {answered} {_ms(target)}."
        )
    return f"Holds {rate:,.4g} frames a second, arriving at random: {answered} {_ms(target)}."


_OF_SCENARIO: Mapping[str, Callable[[BenchResult], str]] = {
    "paced": _paced,
    "offline": _offline,
    "server": _server,
}


def _ms(value_ns: int | None) -> str:
    return "the target" if value_ns is None else f"{value_ns / 1e6:.4g} ms"


def _compared(report: Report) -> str:
    """How those that ran in turns with the first differ from it."""
    first = report.results[0].label
    said = []
    for result, ratio in zip(report.results, relatives(report), strict=True):
        if ratio is not None:
            said.append(_against(result.label, first, ratio))
    return " ".join(said[:3])


def _against(label: str, first: str, ratio: Versus) -> str:
    """What is known of one ratio, no more and no less."""
    if ratio.significant:
        word = "less" if ratio.ratio < 1 else "more"
        return f"{label} takes {_part(ratio.ratio)} {word} time per frame than {first}."
    if ratio.verdict == "same":
        return f"{label} and {first} take the same time, as far as can be told."
    if ratio.low <= 1 <= ratio.high or ratio.processes >= DEFAULT_REPLICATES:
        return (
            f"Which of {label} and {first} is faster cannot be told: {label} takes "
            f"{_times(ratio.ratio, ratio.low, ratio.high)}. Measure for longer, with --duration."
        )
    # The slower one first: 10 times as long is read at once, 0.1 times is not.
    slow, quick, found = label, first, (ratio.ratio, ratio.low, ratio.high)
    if ratio.ratio < 1:
        slow, quick, found = first, label, (1 / ratio.ratio, 1 / ratio.high, 1 / ratio.low)
    processes = f"{ratio.processes} process{'es' * (ratio.processes > 1)}"
    return (
        f"{slow} takes about {_times(*found)} per frame as {quick}; with {processes} that is no "
        f"proof: measure with --replicates {DEFAULT_REPLICATES}."
    )


def _times(value: float, low: float, high: float) -> str:
    return f"{value:.3g} times ({low:.3g} to {high:.3g}) as long"


def _part(ratio: float) -> str:
    """How far from equal, with two digits that mean something."""
    if ratio > 1.995:
        return f"{ratio - 1:.2g} times"
    return f"{100 * abs(1 - ratio):.3g}%" if ratio < 0.01 else f"{100 * abs(1 - ratio):.2g}%"


def _best(report: Report) -> str:
    """The quickest of models that ran apart; of scenarios, each for itself."""
    if len({result.scenario for result in report.results}) > 1:
        return ""
    if report.results[0].scenario in ("offline", "server"):
        best = max(report.results, key=_throughput)
        if not _throughput(best):
            return "No rate was found that holds."
        return f"{best.label} does most: {_throughput(best):,.4g} frames a second."
    best = min(
        (result for result in report.results if result.frames),
        key=lambda result: typical(result.headline_ns) or 0,
    )
    what = "result" if best.headline == "age" else "frame"
    time = format_ns(typical(best.headline_ns))
    return f"{best.label} is the quickest: {time} median per {what}{_tail(best)}."


def _throughput(result: BenchResult) -> float:
    if result.scenario == "server":
        return float(result.arrival["rate"]) if result.rate_held else 0.0
    return result.fps
