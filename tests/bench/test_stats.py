from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeinfer.timing import quantile
from edgeinfer_bench.stats import (
    RESAMPLES,
    as_arrays,
    expanded,
    figures,
    intervals,
    mean_ratio,
    ratios,
    resampled,
    statable,
    student,
)

TRUTH_NS = 10_000_000.0
# Of processes and of their frames, as shares; neighbours are alike.
PROCESS_SPREAD, FRAME_SPREAD, ALIKE = 0.01, 0.02, 0.6


def simulated(random: np.random.Generator, processes: int, frames: int) -> list[list[int]]:
    """Processes that differ, whose frames drift and bunch (AR(1)); mean and median are known."""
    found = []
    for _ in range(processes):
        noise = random.standard_normal(frames) * math.sqrt(1 - ALIKE**2)
        noise[0] = random.standard_normal()
        for index in range(1, frames):
            noise[index] += ALIKE * noise[index - 1]
        level = TRUTH_NS * (1 + PROCESS_SPREAD * random.standard_normal())
        found.append(np.rint(level * (1 + FRAME_SPREAD * noise)).astype(int).tolist())
    return found


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (19, []),
        (20, ["p50"]),
        (99, ["p50"]),
        (100, ["p50", "p90"]),
        (999, ["p50", "p90", "p95"]),
        (1000, ["p50", "p90", "p95", "p99"]),
        (10_000, ["p50", "p90", "p95", "p99", "p999"]),
    ],
)
def test_a_quantile_may_be_stated_where_ten_samples_lie_beyond_it(
    count: int, names: list[str]
) -> None:
    assert list(statable(count)) == names


def test_figures_are_the_mean_and_quantiles_that_were_measured() -> None:
    values = np.random.default_rng(1).integers(1, 10**9, 1037).astype(np.float64)
    ordered = sorted(int(value) for value in values)
    found = figures(values, [0.5, 0.9, 0.99])
    assert found[0] == pytest.approx(sum(ordered) / len(ordered))
    assert [int(value) for value in found[1:]] == [quantile(ordered, q) for q in (0.5, 0.9, 0.99)]


def test_processes_without_samples_are_left_out() -> None:
    assert [array.tolist() for array in as_arrays([[1, 2], [], [3]])] == [[1, 2], [3]]


def test_what_is_always_the_same_has_an_interval_of_no_width() -> None:
    assert intervals([[5000] * 100] * 5)["p50"] == pytest.approx((5000, 5000))


def test_an_interval_stays_within_the_samples() -> None:
    """Two processes apart: what is widened for them would reach far below the quicker one."""
    found = intervals([[1_000_000 + n for n in range(60)], [3_000_000 + n for n in range(60)]])
    assert found
    for low, high in found.values():
        assert 1_000_000 <= low < high <= 3_000_059


def test_too_few_samples_have_no_interval_at_all() -> None:
    assert intervals([[1_000_000] * 19]) == {}
    assert intervals([]) == {}
    assert ratios([[1_000_000] * 19], [[1_000_000] * 100]) == {}


def test_the_same_samples_give_the_same_interval_and_it_holds_the_value() -> None:
    samples = simulated(np.random.default_rng(2), 5, 200)
    found = intervals(samples)
    assert found == intervals(samples)
    assert found != intervals(samples, seed=1)
    assert list(found) == ["mean", "p50", "p90", "p95", "p99"]
    values = figures(np.concatenate(as_arrays(samples)), [0.5, 0.9, 0.95, 0.99])
    for value, (low, high) in zip(values, found.values(), strict=True):
        assert low <= value * (1 + 1e-12) and value <= high * (1 + 1e-12)


def test_an_interval_does_not_depend_on_the_unit() -> None:
    samples = simulated(np.random.default_rng(3), 5, 100)
    thousandfold = intervals([[1000 * value for value in process] for process in samples])
    for name, (low, high) in intervals(samples).items():
        assert thousandfold[name] == pytest.approx((1000 * low, 1000 * high), rel=1e-6)


def test_a_resample_is_a_mean_of_whole_blocks() -> None:
    """Blocks of ten hold one value each, so that every resample is a mean of ten of those."""
    process = np.repeat(np.arange(1.0, 11.0), 10)
    drawn = resampled([process], [0.5], seed=4)
    assert drawn.shape == (RESAMPLES, 2)
    tenfold = drawn[:, 0] * 10
    assert np.allclose(tenfold, np.rint(tenfold))
    # Independent frames would have a tenth of the variance: 8.25 / 100, and not 8.25 / 10.
    assert drawn[:, 0].var() == pytest.approx(8.25 / 10, rel=0.25)


def test_processes_that_differ_are_resampled_as_wholes() -> None:
    drawn = resampled([np.full(49, 1.0), np.full(49, 2.0)], [], seed=5)[:, 0]
    assert set(np.round(drawn, 9)) == {1.0, 1.5, 2.0}
    assert (drawn == 1.5).mean() == pytest.approx(0.5, abs=0.1)


def test_intervals_of_few_processes_are_widened() -> None:
    drawn: NDArray[np.float64] = np.linspace(-1.0, 1.0, 4001)
    low, high = expanded(0.0, drawn, 1)
    assert (low, high) == pytest.approx((-0.95, 0.95))
    # By hand: sqrt(5 / 4) * 2.776 / 1.960, and sqrt(6 / 5) * 2.571 / 1.960.
    assert expanded(0.0, drawn, 5) == pytest.approx((-0.95 * 1.58353, 0.95 * 1.58353), rel=1e-4)
    assert expanded(0.0, drawn, 6) == pytest.approx((-0.95 * 1.43694, 0.95 * 1.43694), rel=1e-4)
    # The frames of very many processes say it all.
    assert expanded(0.0, drawn, 10_000) == pytest.approx((-0.97, 0.97), abs=0.01)


def test_an_interval_is_never_beside_its_value() -> None:
    low, high = expanded(3.0, np.linspace(-1.0, 1.0, 101), 5)
    assert low <= 3.0 <= high


@pytest.mark.parametrize(
    ("freedom", "value"), [(0.5, 12.71), (4, 2.776), (4.9, 2.776), (11, 2.228), (1e9, 2.0)]
)
def test_students_t_is_taken_from_the_wider_line(freedom: float, value: float) -> None:
    assert student(freedom) == value


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """95% nominal; the truth of p90 from the normal distribution that frames are drawn from."""
    spread = math.hypot(PROCESS_SPREAD, FRAME_SPREAD)
    truth = {"mean": TRUTH_NS, "p50": TRUTH_NS, "p90": TRUTH_NS * (1 + 1.281552 * spread)}
    random, trials = np.random.default_rng(6), 300
    held = dict.fromkeys(truth, 0)
    for _ in range(trials):
        found = intervals(simulated(random, 5, 100))
        for name, value in truth.items():
            low, high = found[name]
            held[name] += low <= value <= high
    for name, count in held.items():
        assert 0.92 <= count / trials <= 0.99, name


@pytest.mark.slow
def test_intervals_of_a_ratio_hold_the_truth_as_often_as_they_say() -> None:
    random, trials, truth = np.random.default_rng(7), 200, 1.03
    held = {"mean": 0, "p50": 0}
    for _ in range(trials):
        base, new = simulated(random, 5, 100), simulated(random, 5, 100)
        slower = [[round(value * truth) for value in process] for process in new]
        found = ratios(base, slower)
        for name in held:
            low, high = found[name][2]
            held[name] += low <= truth <= high
    for name, count in held.items():
        assert 0.92 <= count / trials <= 0.99, name


def test_intervals_of_a_ratio_of_means_hold_the_truth_as_often_as_they_say() -> None:
    random, trials, held = np.random.default_rng(8), 2000, 0
    for _ in range(trials):
        base = TRUTH_NS * np.exp(0.01 * random.standard_normal(5))
        new = TRUTH_NS * 1.03 * np.exp(0.03 * random.standard_normal(5))
        low, high = mean_ratio(base.tolist(), new.tolist())[2]
        held += low <= 1.03 <= high
    assert 0.92 <= held / trials <= 0.99


def test_a_ratio_has_the_values_that_it_divides() -> None:
    found = ratios([[1000] * 50] * 5, [[1500] * 50] * 5)
    base, new, (low, high) = found["p50"]
    assert (base, new) == (1000, 1500)
    assert (low, high) == pytest.approx((1.5, 1.5))
    assert list(found) == ["mean", "p50", "p90", "p95"]


def test_equal_processes_have_a_ratio_of_means_without_width() -> None:
    base, new, interval = mean_ratio([2.0, 2.0], [3.0, 3.0, 3.0])
    assert (base, new) == pytest.approx((2.0, 3.0))
    assert interval == pytest.approx((1.5, 1.5))
