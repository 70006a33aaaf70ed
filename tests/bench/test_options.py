from __future__ import annotations

import re
from typing import Any

import pytest

from edgeinfer.errors import UsageError
from edgeinfer_bench import BenchOptions
from edgeinfer_bench.options import SCENARIO_NAMES


def test_without_a_limit_a_thousand_frames_or_twenty_seconds_are_measured() -> None:
    options = BenchOptions()
    assert (options.max_frames, options.max_duration_s) == (1000, 20.0)


def test_a_limit_that_is_given_replaces_both_defaults() -> None:
    assert BenchOptions(frames=5).max_duration_s is None
    assert BenchOptions(duration_s=2).max_frames is None
    both = BenchOptions(frames=5, duration_s=2)
    assert (both.max_frames, both.max_duration_s) == (5, 2)


def test_a_servers_rate_takes_all_its_frames() -> None:
    options = BenchOptions("server")
    assert (options.max_frames, options.max_duration_s) == (1000, None)
    assert BenchOptions("server", duration_s=3).max_duration_s == 3


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"scenario": "singel"}, r"'singel'.*'single'"),
        ({"scenario": "paced", "policy": "lastest"}, r"'lastest'.*'latest'"),
    ],
)
def test_an_unknown_name_is_refused_with_a_suggestion(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BenchOptions(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"frames": 0},
        {"duration_s": 0.0},
        {"duration_s": float("nan")},
        {"duration_s": float("inf")},
        {"warmup": -1},
        {"block": 0},
        {"replicates": 0},
        {"replicates": 1001},
        {"streams": 0, "scenario": "paced"},
        {"streams": 65, "scenario": "paced"},
        {"fps": 0.0, "scenario": "paced"},
        {"fps": float("nan"), "scenario": "paced"},
        {"deadline_ms": -1.0, "scenario": "paced"},
        {"target_ms": float("inf"), "scenario": "server"},
        {"frames": 10**13},
        {"duration_s": 1e300},
        {"fps": 1e-10, "scenario": "paced"},
        {"fps": 3e9, "scenario": "paced"},
        {"deadline_ms": 1e305, "scenario": "paced"},
    ],
)
def test_a_value_that_makes_no_sense_is_refused(values: dict[str, Any]) -> None:
    name = next(iter(values))
    shown = values[name] if isinstance(values[name], int) else f"{values[name]:g}"
    with pytest.raises(UsageError, match=re.escape(f"{name.partition('_')[0]} is {shown}")):
        BenchOptions(**values)


def test_a_number_without_end_is_refused_without_printing_it() -> None:
    with pytest.raises(UsageError, match="frames is beyond all measure"):
        BenchOptions(frames=10**5000)


def test_more_arrivals_than_can_be_counted_are_refused() -> None:
    assert BenchOptions("paced", fps=10_000).fps == 10_000
    with pytest.raises(UsageError, match=r"1000 frames/s on each of 11 streams.*10,000 arrivals"):
        BenchOptions("paced", fps=1000, streams=11)


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        ({"fps": 30.0}, "paced"),
        ({"streams": 2}, "paced"),
        ({"policy": "all"}, "paced"),
        ({"deadline_ms": 5.0}, "paced"),
        ({"target_ms": 5.0}, "server"),
    ],
)
def test_what_a_scenario_would_leave_unused_is_refused(values: dict[str, Any], fits: str) -> None:
    for scenario in SCENARIO_NAMES:
        if scenario == fits:
            assert BenchOptions(scenario, **values).scenario == fits
        else:
            word = next(iter(values)).removesuffix("_ms")
            with pytest.raises(UsageError, match=rf"^{word} is for .*{fits}"):
                BenchOptions(scenario, **values)
