from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.validity import judge

SECOND = 1_000_000_000


def test_a_calm_box_is_valid(calm: BoxState) -> None:
    after = dataclasses.replace(calm, total_ticks=2000)
    found = judge(calm, after, SECOND, [])
    assert (found.verdict, found.reasons, found.notes) == ("VALID", (), ())


def test_a_box_that_tells_nothing_is_valid_and_says_that_it_knows_nothing() -> None:
    found = judge(BoxState(), BoxState(), SECOND, [])
    assert found.verdict == "VALID"
    assert found.evidence["throttled_share"] is None


@pytest.mark.parametrize(
    ("planted", "cause"),
    [
        ({"throttled_us": 20_000, "throttled_periods": 2}, "quota"),
        ({"steal_ticks": 30}, "hypervisor"),
        ({"thermal_events": 1}, "heat"),
        ({"cpu_mhz": 1500.0}, "clock"),
    ],
)
def test_what_disturbs_a_run_makes_it_invalid(
    calm: BoxState, planted: dict[str, Any], cause: str
) -> None:
    after = dataclasses.replace(calm, total_ticks=2000, **planted)
    found = judge(calm, after, SECOND, [])
    assert found.verdict == "INVALID"
    assert len(found.reasons) == 1 and cause in found.reasons[0]


@pytest.mark.parametrize(
    "planted",
    [{"throttled_us": 5_000}, {"steal_ticks": 10}, {"cpu_mhz": 1700.0}, {"cpu_mhz": 2500.0}],
)
def test_what_is_small_is_evidence_only(calm: BoxState, planted: dict[str, Any]) -> None:
    after = dataclasses.replace(calm, total_ticks=2000, **planted)
    assert judge(calm, after, SECOND, []).verdict == "VALID"


def test_a_busy_box_and_a_wandering_clock_are_noted(calm: BoxState) -> None:
    before = dataclasses.replace(calm, load=(500.0, 1.0, 1.0), governor="powersave")
    notes = judge(before, before, SECOND, []).notes
    assert any("500.0" in note for note in notes)
    assert any("powersave" in note for note in notes)
