from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.boxverdict import judge_box, throttled_spans

SECOND = 1_000_000_000
MIB = 1 << 20
# A box on which nothing happens, and that tells everything.
CALM = BoxState(
    governor="performance",
    cpu_mhz=2000.0,
    load=(0.0, 0.0, 0.0),
    throttled_periods=0,
    throttled_us=0,
    steal_ticks=0,
    total_ticks=0,
    thermal_events=0,
    cpu_limit_mhz=2400.0,
    cpu_max_mhz=2400.0,
    busy_ticks=0,
    usable_ticks=0,
    own_ticks=0,
    temperature_c=50.0,
    slowed_by=(),
    overcurrent_events=0,
    memory_available_bytes=4096 * MIB,
    memory_total_bytes=8192 * MIB,
    swapped_pages=0,
    power_mode="MAXN",
    gpu_mhz=1000.0,
    gpu_temperature_c=45.0,
    gpu_throttle=(),
)
# What the box does in a calm second.
RATES = {"total_ticks": 200, "usable_ticks": 200, "busy_ticks": 101, "own_ticks": 100}
COUNTERS = (*RATES, "throttled_periods", "throttled_us", "steal_ticks", "thermal_events")
COUNTERS += ("overcurrent_events", "swapped_pages")
Samples = list[tuple[int, BoxState]]


def run_of(seconds: int, planted: Mapping[int, Mapping[str, Any]] | None = None) -> Samples:
    """A calm run, one look a second; planted: what a second brings, counters by their rise."""
    planted = planted or {}
    counts = dict.fromkeys(COUNTERS, 0)
    samples: Samples = [(0, CALM)]
    for second in range(1, seconds + 1):
        brings = planted.get(second, {})
        for name in COUNTERS:
            counts[name] += brings.get(name, RATES.get(name, 0))
        gauges = {name: value for name, value in brings.items() if name not in COUNTERS}
        samples.append((second * SECOND, dataclasses.replace(CALM, **counts, **gauges)))
    return samples


def later(what: Mapping[str, Any], seconds: Sequence[int] = range(11, 21)) -> Samples:
    """The same is planted in the second half of twenty seconds."""
    return run_of(20, dict.fromkeys(seconds, what))


WHOLE = [(0, 20 * SECOND)]


def test_a_calm_box_gives_no_reason_and_no_note() -> None:
    found = judge_box(run_of(20), WHOLE)
    assert (found.reasons, found.notes) == ((), ())
    assert found.evidence["others_share"] == pytest.approx(1 / 200)


@pytest.mark.parametrize(
    ("planted", "cause", "value", "remedy"),
    [
        ({"throttled_us": 30_000}, "quota", "1.5%", "fewer threads"),
        ({"steal_ticks": 10}, "hypervisor", "2.5%", "not shared"),
        ({"thermal_events": 2}, "heat", "20 time(s)", "cool it"),
        ({"slowed_by": ("cpufreq-cpu0",), "temperature_c": 95.0}, "cpufreq-cpu0", "95 °C", "cool"),
        ({"cpu_mhz": 1500.0}, "clock fell", "25%", "governor"),
        ({"cpu_limit_mhz": 1200.0}, "lowered", "2400 to 1200", "cool"),
        ({"power_mode": "15W"}, "power mode", "MAXN to 15W", "nvpmodel"),
        ({"gpu_throttle": ("hardware thermal slowdown",)}, "GPU", "48%", "lock"),
        ({"swapped_pages": 500}, "swapped", "5000 pages", "memory"),
        ({"memory_available_bytes": 100 * MIB}, "Memory", "100 MiB (1.2%)", "smaller"),
        ({"busy_ticks": 190}, "Other processes", "23%", "stop them"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_disturbs_a_run_makes_it_invalid(
    planted: dict[str, Any], cause: str, value: str, remedy: str
) -> None:
    found = judge_box(later(planted), WHOLE)
    assert len(found.reasons) == 1, found.reasons
    assert cause in found.reasons[0] and value in found.reasons[0] and remedy in found.reasons[0]


@pytest.mark.parametrize(
    "planted",
    [
        {"throttled_us": 5_000},
        {"steal_ticks": 3},
        {"cpu_mhz": 1700.0},
        {"cpu_mhz": 2500.0},
        {"memory_available_bytes": 500 * MIB},
        {"busy_ticks": 104},
    ],
    ids=str,
)
def test_what_is_small_is_evidence_only(planted: dict[str, Any]) -> None:
    found = judge_box(later(planted), WHOLE)
    assert (found.reasons, found.notes) == ((), ())


@pytest.mark.parametrize(
    ("planted", "note"),
    [
        ({"busy_ticks": 130}, "Other processes used 8%"),
        ({"swapped_pages": 3}, "swapped 30 page(s)"),
        ({"gpu_mhz": 500.0}, "GPU's clock fell by 50%"),
        ({"overcurrent_events": 4}, "40 time(s) because it drew too much"),
        ({"gpu_untold": "the package nvidia-ml-py is missing"}, "nvidia-ml-py"),
        ({"governor": "schedutil"}, "'performance then schedutil'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_may_matter_is_noted(planted: dict[str, Any], note: str) -> None:
    found = judge_box(later(planted), WHOLE)
    assert found.reasons == ()
    assert len(found.notes) == 1 and note in found.notes[0]


def test_a_busy_box_a_wandering_clock_and_a_cap_are_noted() -> None:
    state = dataclasses.replace(
        CALM, load=(500.0, 1.0, 1.0), governor="powersave", cpu_limit_mhz=1500.0
    )
    notes = " ".join(judge_box([(0, state), (SECOND, state)], [(0, SECOND)]).notes)
    assert "500.0" in notes and "'powersave'" in notes and "1500 of 2400 MHz" in notes


def test_the_load_that_the_run_makes_itself_is_no_note() -> None:
    assert judge_box(later({"load": (500.0, 1.0, 1.0)}), WHOLE).notes == ()


def test_a_clock_that_falls_and_comes_back_is_found() -> None:
    found = judge_box(later({"cpu_mhz": 1000.0}, range(8, 14)), WHOLE)
    assert found.evidence["clock_fall"] == 0.5
    assert len(found.reasons) == 1


def test_one_low_look_at_a_clock_is_no_fall() -> None:
    for second in range(1, 20):
        assert judge_box(later({"cpu_mhz": 800.0}, [second]), WHOLE).reasons == ()


def test_two_looks_are_enough_to_see_a_clock_fall() -> None:
    after = dataclasses.replace(CALM, cpu_mhz=1500.0)
    assert judge_box([(0, CALM), (SECOND, after)], [(0, SECOND)]).evidence["clock_fall"] == 0.25


@pytest.mark.parametrize(
    "planted",
    [
        {"throttled_us": 900_000, "throttled_periods": 9},
        {"thermal_events": 1},
        {"steal_ticks": 150},
        {"busy_ticks": 200, "own_ticks": 0},
        {"cpu_mhz": 800.0},
        {"swapped_pages": 9000},
        {"slowed_by": ("cpufreq-cpu0",)},
        {"gpu_throttle": ("hardware slowdown",)},
        {"memory_available_bytes": 1},
    ],
    ids=lambda value: next(iter(value)),
)
def test_what_happens_while_nothing_is_measured_does_not_count(planted: dict[str, Any]) -> None:
    samples = later(planted, range(8, 13))
    measured = [(0, 7 * SECOND), (14 * SECOND, 20 * SECOND)]
    assert judge_box(samples, measured).reasons == ()
    assert judge_box(samples, WHOLE).reasons


def test_measuring_that_is_shorter_than_a_look_takes_its_part() -> None:
    samples = run_of(2, {1: {"throttled_us": 100_000}})
    found = judge_box(samples, [(SECOND // 4, SECOND // 2)])
    assert found.evidence["throttled_share"] == pytest.approx(0.1)


def test_without_periods_all_the_time_counts() -> None:
    assert judge_box(later({"thermal_events": 1}), []).evidence["thermal_events"] == 10


def test_a_box_that_tells_nothing_is_not_accused() -> None:
    silent = [(second * SECOND, BoxState()) for second in range(5)]
    found = judge_box(silent, [(0, 4 * SECOND)])
    assert (found.reasons, found.notes) == ((), ())
    assert found.evidence["throttled_share"] is None
    for few in ([], silent[:1]):
        assert judge_box(few, [(0, SECOND)]).reasons == ()


def test_evidence_is_json_and_says_what_was_at_both_ends() -> None:
    found = judge_box(later({"slowed_by": ("Processor",)}, [15]), WHOLE)
    read = json.loads(json.dumps(found.evidence))
    assert read["before"]["cpu_mhz"] == 2000.0
    assert read["after"]["usable_ticks"] == 4000
    assert [row["at_ns"] for row in read["samples"]] == [n * SECOND for n in range(21)]
    assert [row["throttled"] for row in read["samples"]].count(True) == 1
    assert read["samples"][15]["throttled"] and read["samples"][15]["temperature_c"] == 50.0


def test_evidence_of_a_long_run_is_small_and_keeps_the_throttling() -> None:
    samples = run_of(5000, {1234: {"throttled_us": 500_000}})
    rows = judge_box(samples, [(0, 5000 * SECOND)]).evidence["samples"]
    assert len(rows) < 460 and len(json.dumps(rows)) < 100_000
    assert (rows[0]["at_ns"], rows[-1]["at_ns"]) == (0, 5000 * SECOND)
    (row,) = [row for row in rows if row["throttled"]]
    assert 1234 * SECOND <= row["at_ns"] <= 1246 * SECOND


def test_spans_of_throttling_are_those_of_the_watch() -> None:
    assert throttled_spans(later({"throttled_us": 500_000}, [3])) == [(2 * SECOND, 3 * SECOND)]
