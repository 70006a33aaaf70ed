"""What there is time for."""

from __future__ import annotations

import pytest

from edgeinfer.tune import budget
from edgeinfer.tune.budget import Budget

S = 1_000_000_000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in nanoseconds, in a list to be changed; two processors."""
    now = [5 * S]
    monkeypatch.setattr(budget, "now_ns", lambda: now[0])
    monkeypatch.setattr(budget, "usable_cpus", lambda: 2)
    return now


def test_candidates_are_opened_only_while_there_is_time_to_measure_them(clock: list[int]) -> None:
    time = Budget(10, clock[0])
    time.opened(1, S)
    # Each takes half a second beside another, and two blocks of a quarter.
    assert time.affordable(0.6, S // 4) == 6
    clock[0] += 9 * S // 2
    assert time.affordable(0.6, S // 4) == 1
    clock[0] += S
    assert time.affordable(0.6, S // 4) == 0
    assert time.affordable(1.0, S // 4) == 4


def test_what_opens_slowly_is_learned_and_what_does_not_count_is_left_out(
    clock: list[int],
) -> None:
    time = Budget(10, clock[0])
    time.opened(1, S)
    time.opened(4, 8 * S)
    assert time.opening_ns == 4 * S
    clock[0] += 8 * S
    time.extra_ns += 6 * S
    assert time.used() == pytest.approx(0.2)
    assert time.took_s() == pytest.approx(8)


@pytest.mark.parametrize(("seconds", "block_ms"), [(1, 20), (2, 40), (7.5, 150), (45, 150)])
def test_a_small_budget_has_short_blocks(seconds: float, block_ms: int, clock: list[int]) -> None:
    assert Budget(seconds, clock[0]).block_ns(150_000_000) == block_ms * 1_000_000


def test_an_overrun_is_told_with_its_cause(clock: list[int]) -> None:
    time = Budget(1, clock[0])
    clock[0] += S
    assert time.overrun() is None
    clock[0] += S
    time.opened(1, 2 * S)
    assert time.overrun() == (
        "it took 2.0 s in place of 1: opening one candidate and checking its answers takes 2.0 s "
        "here"
    )
