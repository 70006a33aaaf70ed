from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from edgeinfer_bench.charts import histogram, stage_stack, tail, timeline
from edgeinfer_bench.charts.scale import Scale, latency_scale
from edgeinfer_bench.charts.timeline import envelope

RANDOM = np.random.default_rng(0)


def latencies(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return (20e6 * (1 + 0.02 * RANDOM.gamma(2, 1, count))).astype(np.int64)


def paths(html: str, css: str) -> list[str]:
    return re.findall(rf'class="{css} s0" d="([^"]*)"', html)


def test_a_spike_is_at_the_top_of_the_timeline_however_many_frames_there_are() -> None:
    for count in (300, 100_000):
        values = latencies(count)
        values[count // 2] = 100_000_000
        html = timeline({"a": values}, Scale(0, 100_000_000))
        drawn = "".join(paths(html, "line") + paths(html, "band"))
        assert re.search(r"L50[0-3] 0L", drawn)


def test_the_size_of_a_plot_does_not_grow_with_the_frames() -> None:
    values = latencies(100_000)
    x = Scale(float(values.min()), float(values.max()))
    for html in (
        timeline({"a": values}, Scale(0, float(values.max()))),
        histogram({"a": values}, x),
        tail({"a": values}, x),
    ):
        assert len(html) < 40_000


def test_the_envelope_holds_every_extreme() -> None:
    values = latencies(12_345)
    middles, lows, medians, highs = envelope(values, 500)
    assert len(middles) == len(medians) == 500
    assert min(lows) == values.min() and max(highs) == values.max()
    assert all(low <= mid <= high for low, mid, high in zip(lows, medians, highs, strict=True))


@pytest.mark.parametrize("count", [1, 2, 9, 30, 1000])
@pytest.mark.parametrize("spread", [0, 1])
def test_plots_are_well_formed_for_any_number_of_frames(count: int, spread: int) -> None:
    values = np.full(count, 20_000_000, np.int64) + spread * np.arange(count)
    low, high = float(values.min()), float(values.max())
    x = latency_scale(low, low, high, from_zero=False)
    y = latency_scale(low, low, high, from_zero=True)
    for html in (
        timeline({"<a>": values}, y),
        histogram({"<a>": values}, x),
        tail({"<a>": values}, x),
    ):
        root = ET.fromstring(html)
        assert "nan" not in html
        for path in root.iter("path"):
            numbers = [int(item) for item in re.findall(r"-?\d+", path.attrib["d"])]
            assert all(-1 <= number <= 1001 for number in numbers)


def test_the_bins_of_a_histogram_hold_every_frame() -> None:
    values = latencies(500)
    x = Scale(float(values.min()), float(values.max()))
    steps = paths(histogram({"a": values}, x), "line thin")[0]
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
