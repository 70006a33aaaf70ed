from __future__ import annotations

import numpy as np
import pytest

from edgeinfer.errors import UsageError
from edgeinfer.measure import Difference, Ratio, difference, interleave, ratio
from edgeinfer.testing import FakeClock


def noisy(seed: int, count: int, factor: float = 1.0) -> list[int]:
    """Latencies around 10 ms with a long upper tail, as boxes give them."""
    random = np.random.default_rng(seed)
    values = 10e6 * factor * (1 + 0.02 * random.gamma(2, 1, count))
    return [int(value) for value in values]


def test_every_alternative_gets_a_sample_of_its_own_time_per_round() -> None:
    clock = FakeClock()
    samples = interleave(
        {"fast": lambda: clock.advance(3), "slow": lambda: clock.advance(7)},
        rounds=5,
        warmup=0,
        clock=clock,
    )
    assert samples == {"fast": (3,) * 5, "slow": (7,) * 5}


def test_the_order_rotates_so_that_none_always_runs_first() -> None:
    calls: list[str] = []
    names = ("a", "b", "c")
    interleave({name: lambda name=name: calls.append(name) for name in names}, rounds=3, warmup=0)
    assert "".join(calls) == "abcbcacab"


def test_warmup_rounds_run_and_are_not_kept() -> None:
    clock = FakeClock()
    times = iter([900, 800, 5, 6])
    samples = interleave(
        {"only": lambda: clock.advance(next(times))}, rounds=2, warmup=2, clock=clock
    )
    assert samples == {"only": (5, 6)}


def test_drift_hits_all_alternatives_alike() -> None:
    clock = FakeClock()

    def work() -> None:
        clock.advance(1000 + clock() // 10_000 % 500)

    samples = interleave({"a": work, "b": work}, rounds=400, warmup=0, clock=clock)
    found = ratio(samples["a"], samples["b"])
    assert not found.significant
    assert found.ratio == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(("rounds", "warmup"), [(0, 0), (1, -1)])
def test_nothing_to_measure_is_a_usage_error(rounds: int, warmup: int) -> None:
    with pytest.raises(UsageError, match=str(rounds)):
        interleave({"a": lambda: None}, rounds=rounds, warmup=warmup)
    with pytest.raises(UsageError, match="0 alternative"):
        interleave({}, rounds=1, warmup=0)


def test_an_exact_ratio_comes_back_exactly() -> None:
    found = ratio([100, 200, 300], [110, 220, 330])
    assert (found.ratio, found.low, found.high) == pytest.approx((1.1, 1.1, 1.1))
    assert found.rounds == 3
    assert found.significant


def test_the_interval_of_equal_alternatives_holds_one_in_most_cases() -> None:
    wrong = sum(
        ratio(noisy(seed, 200), noisy(seed + 1000, 200), seed=seed).significant
        for seed in range(60)
    )
    assert wrong <= 6  # 5% of 60 is 3


def test_a_planted_slowdown_of_three_percent_is_found() -> None:
    found = [
        ratio(noisy(seed, 200), noisy(seed + 1000, 200, 1.03), seed=seed) for seed in range(30)
    ]
    assert sum(item.significant and item.ratio > 1 for item in found) >= 27


def test_the_same_samples_give_the_same_interval() -> None:
    assert ratio(noisy(1, 50), noisy(2, 50)) == ratio(noisy(1, 50), noisy(2, 50))


def test_one_round_gives_a_ratio_without_width() -> None:
    assert ratio([100], [150]) == Ratio(1.5, 1.5, 1.5, 1)


@pytest.mark.parametrize(("base", "new"), [([1, 2], [1]), ([], []), ([0], [1]), ([1], [0])])
def test_samples_that_are_no_pairs_are_refused(base: list[int], new: list[int]) -> None:
    with pytest.raises(UsageError):
        ratio(base, new)


def test_a_constant_extra_cost_comes_back_in_nanoseconds() -> None:
    base = noisy(3, 300)
    assert difference(base, [value + 500 for value in base]) == Difference(500, 500, 500, 300)
    found = difference(base, [value + 300_000 for value in noisy(4, 300)])
    assert found.low < 300_000 < found.high
    with pytest.raises(UsageError):
        difference([1, 2], [1])


def test_a_ratio_says_in_json_whether_it_is_significant() -> None:
    assert Ratio(1.1, 1.05, 1.2, 9).to_dict() == {
        "ratio": 1.1,
        "ci95": [1.05, 1.2],
        "rounds": 9,
        "significant": True,
    }
