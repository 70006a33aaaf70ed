from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeinfer_bench import BenchResult, Report
from edgeinfer_bench.relative import Versus, relative, relatives
from edgeinfer_bench.replicate import Replicate

MakeReport = Callable[..., Report]
Random = np.random.Generator
MS = 1_000_000
BLOCK = 10


def result_of(label: str, replicates: Sequence[Replicate], scenario: str = "single") -> BenchResult:
    return BenchResult(label, scenario, {}, tuple(replicates), block=BLOCK)


def replicate_of(turns: Sequence[Sequence[int]]) -> Replicate:
    """One process, turn by turn."""
    flat = tuple(value for turn in turns for value in turn)
    return Replicate(
        samples_ns={"at": flat, "latency": flat, "age": flat},
        warmup_samples_ns={"at": (), "latency": (), "age": ()},
        opening_ns=0,
        first_frame_ns=None,
        began_ns=0,
        elapsed_ns=sum(flat),
        turns=tuple(map(len, turns)),
        turns_ns=tuple(map(sum, turns)),
    )


@dataclasses.dataclass(frozen=True)
class Box:
    """A box as boxes are.

    Attributes:
        process: how much processes differ, as a share (standard deviation).
        drift: of the clock, which both models see, over a replicate.
        noise: from frame to frame. slow: share of frames that something else holds up, for a time
            with a heavy tail (Pareto, no finite variance).
    """

    process: float = 0.005
    drift: float = 0.15
    noise: float = 0.03
    slow: float = 0.03

    def pair(self, random: Random, factor: float, rounds: int = 40) -> list[BenchResult]:
        """A and another, the second slower by a factor, in five pairs of processes."""
        ours: list[Replicate] = []
        theirs: list[Replicate] = []
        for _ in range(5):
            walk = np.cumsum(random.standard_normal(rounds)) / np.sqrt(rounds)
            for found, by in ((ours, 1.0), (theirs, factor)):
                level = by * (1 + self.process * random.standard_normal())
                # Turns of one round are next to each other, not at the same time.
                drift = np.exp(self.drift * walk + 0.01 * random.standard_normal(rounds))
                found.append(replicate_of(self._frames(random, level * drift)))
        return [result_of("a", ours), result_of("b", theirs)]

    def _frames(self, random: Random, levels: NDArray[np.float64]) -> list[list[int]]:
        size = (len(levels), BLOCK)
        frames = levels[:, None] * np.exp(self.noise * random.standard_normal(size))
        held_up = random.random(size) < self.slow
        frames += held_up * random.pareto(1.5, size)
        return np.rint(5 * MS * frames).astype(int).tolist()  # type: ignore[no-any-return]


def verdicts(box: Box, factor: float, runs: int = 100) -> list[Versus]:
    found = []
    for run in range(runs):
        base, new = box.pair(np.random.default_rng(run), factor)
        versus = relative(base, new)
        assert versus is not None
        found.append(versus)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("box", [Box(), Box(process=0.015, drift=0.5)], ids=["calm", "restless"])
def test_a_against_a_is_told_apart_in_at_most_5_of_100_runs(box: Box) -> None:
    found = verdicts(box, 1.0)
    assert sum(item.significant for item in found) <= 5
    # Intervals that hold the truth as often as they say, and not only by the least difference.
    assert sum(item.low <= 1.0 <= item.high for item in found) >= 90


@pytest.mark.slow
def test_a_planted_slowdown_of_3_percent_is_found_in_at_least_90_of_100_runs() -> None:
    found = verdicts(Box(), 1.03)
    assert sum(item.verdict == "slower" for item in found) >= 90
    assert sum(item.low <= 1.03 <= item.high for item in found) >= 90
    assert np.median([item.ratio for item in found]) == pytest.approx(1.03, abs=0.003)


def test_a_faster_model_is_found_too() -> None:
    base, new = Box().pair(np.random.default_rng(1), 1 / 1.05)
    found = relative(base, new)
    assert found is not None and found.verdict == "faster"
    assert found.ratio == pytest.approx(1 / 1.05, abs=0.01)


def test_processes_that_differ_widen_the_interval() -> None:
    def width(process: float) -> float:
        base, new = Box(process=process).pair(np.random.default_rng(2), 1.0)
        found = relative(base, new)
        assert found is not None
        return found.high - found.low

    assert width(0.03) > 3 * width(0.0)


def test_rounds_are_compared_with_each_other_and_drift_cancels() -> None:
    """Each round is twice as slow as the one before it; the second model by 2% in each."""
    levels = [2**number for number in range(10)]
    ours = replicate_of([[level * MS] * BLOCK for level in levels])
    theirs = replicate_of([[level * MS * 102 // 100] * BLOCK for level in levels])
    found = relative(result_of("a", [ours]), result_of("b", [theirs]))
    assert found is not None
    assert (found.ratio, found.low, found.high) == pytest.approx((1.02, 1.02, 1.02))
    assert (found.processes, found.rounds) == (1, 10)


def test_rounds_of_a_process_that_broke_down_are_left_out() -> None:
    turns = [[MS] * BLOCK] * 10
    ours = [replicate_of(turns), replicate_of(turns)]
    theirs = [replicate_of(turns), replicate_of(turns[:3])]
    found = relative(result_of("a", ours), result_of("b", theirs))
    assert found is not None and (found.processes, found.rounds) == (2, 13)
    nothing = [replicate_of(turns), replicate_of([])]
    found = relative(result_of("a", ours), result_of("b", nothing))
    assert found is not None and (found.processes, found.rounds) == (1, 10)


def test_offline_goes_by_the_time_that_a_turn_took() -> None:
    """Frames overlap there: their latency says nothing of how many are done in a second."""

    def one(factor: int) -> Replicate:
        made = replicate_of([[MS] * BLOCK] * 8)
        return dataclasses.replace(made, turns_ns=(factor * MS,) * 8)

    found = relative(result_of("a", [one(10)], "offline"), result_of("b", [one(12)], "offline"))
    assert found is not None and found.ratio == pytest.approx(1.2)


def test_paced_frames_go_by_their_age() -> None:
    made = replicate_of([[MS] * BLOCK] * 8)
    older = {**made.samples_ns, "age": tuple(3 * MS for _ in made.samples_ns["age"])}
    new = dataclasses.replace(made, samples_ns=older)
    found = relative(result_of("a", [made], "paced"), result_of("b", [new], "paced"))
    assert found is not None and found.ratio == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("ratio", "low", "high", "verdict"),
    [
        (1.005, 1.004, 1.006, "same"),
        (1.0, 0.98, 1.02, "same"),
        (1.0, 0.9, 1.02, "inconclusive"),
        (1.02, 0.99, 1.05, "inconclusive"),
        (1.02, 1.01, 1.03, "slower"),
        (0.95, 0.9, 0.99, "faster"),
    ],
)
def test_what_differs_by_less_than_a_percent_is_the_same(
    ratio: float, low: float, high: float, verdict: str
) -> None:
    found = Versus(ratio, low, high, 5, 100)
    assert found.verdict == verdict
    assert found.to_dict()["verdict"] == verdict


def test_the_first_of_a_report_is_what_the_others_are_held_against(make_report: MakeReport) -> None:
    report = make_report([2 * MS], [2 * MS], [3 * MS], frames=100, replicates=5)
    first, same, slower = relatives(report)
    assert first is None
    assert same is not None and same.verdict == "same"
    assert slower is not None and slower.ratio == pytest.approx(1.5)


def _runs_of_their_own(results: Sequence[BenchResult]) -> tuple[BenchResult, ...]:
    return tuple(dataclasses.replace(result, block=None) for result in results)


def test_runs_of_their_own_are_not_compared(make_report: MakeReport) -> None:
    report = make_report([MS], [MS], frames=100)
    apart: Any = dataclasses.replace(report, results=_runs_of_their_own(report.results))
    assert relatives(apart) == (None, None)


def test_a_few_rounds_say_nothing(make_report: MakeReport) -> None:
    assert relatives(make_report([5], [6], frames=20)) == (None, None)
