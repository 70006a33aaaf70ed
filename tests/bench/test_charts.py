from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgeinfer_bench import BenchResult, Report
from edgeinfer_bench.charts import histogram, rate_search, stage_stack, tail, timeline
from edgeinfer_bench.charts.axes import headline_samples, shared_scale
from edgeinfer_bench.charts.scale import Scale, latency_scale
from edgeinfer_bench.charts.timeline import drops_at, envelope, laid_out, throttled_at

MakeReport = Callable[..., Report]
RANDOM = np.random.default_rng(0)


def latencies(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return (20e6 * (1 + 0.02 * RANDOM.gamma(2, 1, count))).astype(np.int64)


def paths(html: str, css: str) -> list[str]:
    return re.findall(rf'class="{css}" d="([^"]*)"', html)


def result_of(make_report: MakeReport, values: Any, **options: Any) -> BenchResult:
    return make_report(values, frames=len(values), **options).results[0]


def test_a_spike_is_at_the_top_of_the_timeline_however_many_frames_there_are(
    make_report: MakeReport,
) -> None:
    for count in (300, 100_000):
        values = latencies(count)
        values[count // 2] = 100_000_000
        html = timeline(result_of(make_report, values), Scale(0, 100_000_000))
        drawn = "".join(paths(html, "line s0") + paths(html, "band s0"))
        assert re.search(r"L(49\d|50\d) 0L", drawn)


def test_the_size_of_a_plot_does_not_grow_with_the_frames(make_report: MakeReport) -> None:
    values = latencies(100_000)
    x = Scale(float(values.min()), float(values.max()))
    result = result_of(make_report, values, replicates=5, scenario="paced", full=True)
    assert result.dropped > 1000
    for html in (
        timeline(result, Scale(0, float(values.max()))),
        histogram({"a": values}, x),
        tail({"a": values}, x),
    ):
        assert len(html) < 40_000


def test_every_process_begins_at_its_border(make_report: MakeReport) -> None:
    result = result_of(make_report, [10_000_000], replicates=1)
    assert paths(timeline(result, Scale(0, 1e8)), "border") == [""]
    result = result_of(make_report, [10_000_000] * 100, replicates=4)
    assert paths(timeline(result, Scale(0, 1e8)), "border") == ["M250 1000V0M500 1000V0M750 1000V0"]
    assert len(paths(timeline(result, Scale(0, 1e8)), "line s0")) == 4


def test_every_drop_is_marked_where_it_happened(make_report: MakeReport) -> None:
    result = result_of(make_report, [4_000_000] * 500, scenario="paced", replicates=2, full=True)
    html = timeline(result, Scale(0, 1e8))
    marks = [int(x) for x in re.findall(r"M(\d+) 1000V", paths(html, "drop")[0])]
    assert len(marks) == result.dropped
    stretches = laid_out(result)
    whole = stretches[-1].start + stretches[-1].width
    assert marks == [round(1000 * at / whole) for at in drops_at(stretches)]
    assert paths(timeline(result_of(make_report, [5] * 50), Scale(0, 9)), "drop") == []


def test_a_throttled_span_lies_where_its_process_measured(make_report: MakeReport) -> None:
    result = result_of(make_report, [10_000_000] * 200, replicates=2)
    first, second = laid_out(result)
    begun = second.replicate.began_ns
    before = (first.replicate.began_ns - 10**9, first.replicate.began_ns - 1)
    over_the_end = (begun + 500_000_000, begun + 10**12)
    assert throttled_at([first, second], [before, over_the_end]) == [
        (first.width + 500_000_000, first.width + second.width)
    ]
    html = timeline(result, Scale(0, 1e8), [over_the_end])
    assert paths(html, "throttled") == ["M750 1000L750 0L1000 0L1000 1000Z"]


def test_the_deadline_is_a_line_unless_it_lies_far_away(make_report: MakeReport) -> None:
    near = result_of(make_report, [8_000_000] * 50, scenario="paced")
    y = shared_scale([near], from_zero=True)
    html = timeline(near, y)
    assert paths(html, "limit") == [f"M0 {round(1000 * (1 - y.at(10_000_000)))}H1000"]
    assert "deadline 10 ms" in html
    far = result_of(make_report, [80_000] * 50, scenario="paced")
    assert shared_scale([far], from_zero=True).high < 10_000_000
    assert "deadline" not in timeline(far, shared_scale([far], from_zero=True))


def test_frames_of_several_streams_are_drawn_in_the_order_of_time(make_report: MakeReport) -> None:
    result = result_of(make_report, [1_000_000, 2_000_000, 3_000_000])
    only = result.replicates[0]
    columns = {name: tuple(reversed(column)) for name, column in only.samples_ns.items()}
    mixed = dataclasses.replace(result, replicates=(dataclasses.replace(only, samples_ns=columns),))
    y = Scale(0, 4_000_000)
    assert paths(timeline(mixed, y), "line s0") == paths(timeline(result, y), "line s0")


def test_the_search_shows_each_trial_once_and_the_rate_that_held(make_report: MakeReport) -> None:
    result = result_of(make_report, [5_000_000] * 50, scenario="server")
    html = rate_search(result)
    assert html is not None
    assert len(re.findall("h0", paths(html, "dot s0")[0])) == 2
    assert len(re.findall("h0", paths(html, "dot missed s0")[0])) == 2
    assert "84/s held" in html and "1% allowed" in html
    told = [{**trial, "age_p99_ns": 9_000_000} for trial in result.arrival["trials"]]
    known = dataclasses.replace(result, arrival={**result.arrival, "trials": told})
    assert "target 12 ms" in (rate_search(known) or "")
    assert rate_search(result_of(make_report, [5] * 50)) is None


def test_the_envelope_holds_every_extreme() -> None:
    values = latencies(12_345)
    middles, lows, medians, highs = envelope(values, 500)
    assert len(middles) == len(medians) == 500
    assert min(lows) == values.min() and max(highs) == values.max()
    assert all(low <= mid <= high for low, mid, high in zip(lows, medians, highs, strict=True))


@pytest.mark.parametrize("count", [1, 2, 9, 30, 1000, 2500])
@pytest.mark.parametrize("spread", [0, 1])
@pytest.mark.parametrize("scenario", ["single", "paced"])
def test_plots_are_well_formed_for_any_number_of_frames(
    make_report: MakeReport, count: int, spread: int, scenario: str
) -> None:
    values = np.full(count, 20_000_000, np.int64) + spread * np.arange(count)
    result = result_of(make_report, values, scenario=scenario, full=True)
    result = dataclasses.replace(result, label="<a>")
    samples = headline_samples(result)
    x = shared_scale([result], from_zero=False)
    for html in (
        timeline(result, shared_scale([result], from_zero=True), [(0, 10**12)]),
        histogram({"<a>": samples}, x),
        tail({"<a>": samples}, x),
    ):
        root = ET.fromstring(html)
        assert "nan" not in html
        for path in root.iter("path"):
            numbers = [int(item) for item in re.findall(r"-?\d+", path.attrib["d"])]
            assert all(-1 <= number <= 1001 for number in numbers)


def test_the_bins_of_a_histogram_hold_every_frame() -> None:
    values = latencies(500)
    x = Scale(float(values.min()), float(values.max()))
    steps = paths(histogram({"a": values}, x), "line thin s0")[0]
    heights = [1000 - int(y) for _, y in re.findall(r"(\d+) (\d+)", steps)]
    bins = heights[1:-1:2]
    top = max(bins)
    counts, _ = np.histogram(values, np.linspace(x.low, x.high, len(bins) + 1))
    assert counts.sum() == 500
    assert [round(count * top / counts.max()) for count in counts] == pytest.approx(bins, abs=1)


def test_an_axis_turns_logarithmic_when_values_lie_far_apart() -> None:
    assert not latency_scale(1e6, 2e6, 15e6, from_zero=True).log
    scale = latency_scale(1e6, 2e6, 100e6, from_zero=True)
    assert scale.log
    assert scale.at(1e6) > 0 and scale.at(100e6) < 1


@pytest.mark.parametrize(
    "scale",
    [Scale(0, 57e6), Scale(19.5e6, 21e6), Scale(1e5, 3e8, True), Scale(1.1e6, 1.9e6, True)],
)
def test_ticks_lie_on_the_axis_and_are_few(scale: Scale) -> None:
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-1e-9 <= scale.at(tick) <= 1 + 1e-9 for tick in ticks)


def test_bars_are_drawn_on_one_scale() -> None:
    slow, fast = stage_stack(
        [("slow", {"inference": 8e6, "other": 0.0}), ("fast", {"inference": 2e6, "other": 2e6})]
    )
    assert [part.width for part in slow.parts] == [100.0]
    assert [part.width for part in fast.parts] == [25.0, 25.0]
    assert (slow.total, fast.total) == ("8.00 ms", "4.00 ms")
