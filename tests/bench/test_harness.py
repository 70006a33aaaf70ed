from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from edgeinfer.errors import ProviderError, UsageError
from edgeinfer.frames import Frame
from edgeinfer.results import Payload, Result
from edgeinfer.spec import InputSpec, ModelSpec
from edgeinfer.testing import STUB_SERVED, FakeClock, StubModel, StubSource
from edgeinfer_bench import tables
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.harness import Contestant, Interrupted, run
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.relative import relatives
from edgeinfer_bench.report import Report
from edgeinfer_bench.rig import Rig
from edgeinfer_bench.subject import Entry

MS = 1_000_000
SECOND = 1_000_000_000
CALM = BoxState(governor="performance", throttled_us=0, throttled_periods=0, thermal_events=0)
Make = Callable[[], StubModel]


def contestant(
    clock: FakeClock,
    make: Make,
    *,
    label: str = "stub",
    source: Callable[[], StubSource] | None = None,
    warmup: int | None = 5,
    operators: Callable[[], Mapping[str, Any]] | None = None,
) -> Contestant:
    """A model whose processes are rigs over stubs: `make` is called for each."""
    entry = Entry(make, lambda model: source() if source else StubSource(clock, 50))
    return Contestant(label, lambda: Rig(entry, warmup, None, clock, clock.wait_until), operators)


def measure(
    clock: FakeClock,
    make: Make | Sequence[Contestant],
    observe: Callable[[], BoxState] = lambda: CALM,
    source: Callable[[], StubSource] | None = None,
    warmup: int | None = 5,
    **options: Any,
) -> Report:
    """A run of one stub, or of contestants."""
    models = [contestant(clock, make, source=source, warmup=warmup)] if callable(make) else make
    return run(models, BenchOptions(**options), command="bench", clock=clock, observe=observe)


def known(count: int) -> list[int]:
    """Latencies whose quantiles are those of a lognormal distribution with its median at 2 ms."""
    inverse = statistics.NormalDist().inv_cdf
    values = [2 * MS * np.exp(0.5 * inverse((i + 0.5) / count)) for i in range(count)]
    return np.random.default_rng(3).permutation(np.rint(values).astype(int)).tolist()  # type: ignore[no-any-return]


def truth_ns(q: float) -> float:
    return float(2 * MS * np.exp(0.5 * statistics.NormalDist().inv_cdf(q)))


QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


# What comes back


@pytest.mark.parametrize("arrival", [{}, {"scenario": "paced", "fps": 20, "policy": "all"}])
def test_the_quantiles_of_a_known_distribution_come_back(
    clock: FakeClock, arrival: dict[str, Any]
) -> None:
    """Within 1%, through processes, turns, recorder and summary; each has a fifth of the values."""
    shares = iter(np.array_split(known(10_000), 5))

    def next_share() -> StubModel:
        return StubModel(clock, next(shares).tolist())

    if arrival:
        # The reference before the paced frames takes 50 of them: those go round and come last.
        shares = iter([np.roll(share, 50) for share in shares])
    report = measure(clock, next_share, warmup=0, frames=10_000, **arrival)
    result = report.results[0]
    assert len(result.replicates) == 5 and report.valid
    for summary in (result.latency_ns, result.headline_ns):
        for name, q in QUANTILES.items():
            assert summary[name] == pytest.approx(truth_ns(q), rel=0.01), name
    assert result.latency_ns["mean"] == pytest.approx(2 * MS * np.exp(0.125), rel=0.01)
    for name, (low, high) in result.ci95_ns["latency"].items():
        if name in QUANTILES:
            assert low <= truth_ns(QUANTILES[name]) * 1.01 and high >= truth_ns(QUANTILES[name])


def test_of_several_models_each_gets_back_its_own_distribution(clock: FakeClock) -> None:
    shares = iter(np.array_split(known(5000), 5))
    first = contestant(clock, lambda: StubModel(clock, [MS]), label="first", warmup=0)
    # One frame before each turn is not kept: every one of 20 counts twice.
    second = contestant(
        clock,
        lambda: StubModel(clock, _with_spare(next(shares).tolist(), 20)),
        label="second",
        warmup=0,
    )
    report = measure(clock, [first, second], frames=5000, block=20)
    for name, q in QUANTILES.items():
        assert report.results[1].latency_ns[name] == pytest.approx(truth_ns(q), rel=0.01), name
        assert report.results[0].latency_ns[name] == MS


def _with_spare(values: list[int], block: int) -> list[int]:
    """Before each block a frame that takes far too long, and is not to be seen in the results."""
    found = []
    for start in range(0, len(values), block):
        found += [SECOND, *values[start : start + block]]
    return found


def test_drift_of_the_box_hits_models_in_turns_alike_and_cancels(clock: FakeClock) -> None:
    """The box gets slower by half and faster again, within seconds; 3% show all the same."""
    began = clock()

    class Drifting(StubModel):
        def __init__(self, factor: float, noise: np.random.Generator) -> None:
            super().__init__(clock)
            self._factor, self._noise = factor, noise

        def _latency_of(self, frame: Frame) -> int:
            box = 1 + 0.25 * np.sin((clock() - began) / SECOND)
            jitter = 1 + 0.02 * self._noise.gamma(2, 1)
            return int(2 * MS * self._factor * box * jitter)

    random = np.random.default_rng(4)
    models = [
        contestant(clock, lambda factor=factor: Drifting(factor, random), label=label)  # type: ignore[misc]  # bound here
        for label, factor in (("a", 1.0), ("again", 1.0), ("slower", 1.03))
    ]
    _, again, slower = relatives(measure(clock, models, frames=1500))
    assert again is not None and not again.significant
    assert slower is not None and slower.verdict == "slower"
    assert slower.ratio == pytest.approx(1.03, abs=0.005)


def test_every_process_is_fresh_and_closed(clock: FakeClock) -> None:
    models: list[StubModel] = []

    def another() -> StubModel:
        models.append(StubModel(clock, [MS * (len(models) + 1)]))
        clock.advance(7 * MS)
        return models[-1]

    result = measure(clock, another, frames=50, replicates=5).results[0]
    assert [item.samples_ns["latency"][0] for item in result.replicates] == [
        MS * number for number in range(1, 6)
    ]
    assert [item.frames for item in result.replicates] == [10] * 5
    assert all(model.closed for model in models) and len(models) == 5
    assert result.opening_ns == 7 * MS


def test_warm_up_frames_are_kept_apart(clock: FakeClock) -> None:
    latencies = [9 * MS, 8 * MS, *[MS] * 100]
    result = measure(
        clock, lambda: StubModel(clock, latencies), warmup=2, frames=60, replicates=2
    ).results[0]
    assert result.warmup_samples_ns["latency"] == (9 * MS, 8 * MS) * 2
    assert set(result.samples_ns["latency"]) == {MS}
    assert result.first_frame_ns == 9 * MS
    assert result.to_dict()["warmup_frames"] == 4


def test_a_source_shorter_than_the_warm_up_is_shown_again_and_the_report_says_so(
    clock: FakeClock,
) -> None:
    report = measure(
        clock,
        lambda: StubModel(clock),
        source=lambda: StubSource(clock, 3),
        warmup=20,
        frames=100,
    )
    assert report.valid and report.results[0].frames == 100
    # 20 and 20 of each process over 3 frames.
    assert any("shown 14 times" in note for note in report.validity.notes)


def test_a_live_source_that_ends_in_the_warm_up_makes_a_report_that_says_so(
    clock: FakeClock,
) -> None:
    report = measure(
        clock,
        lambda: StubModel(clock),
        source=lambda: StubSource(clock, 4, live=True),
        warmup=20,
        frames=100,
    )
    result = report.results[0]
    assert (result.frames, len(result.replicates)) == (0, 1)
    assert result.warmup_samples_ns["latency"] == (MS,) * 4
    assert any("too few" in reason for reason in report.validity.reasons)
    assert any("source ended" in note for note in report.validity.notes)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_several_models_take_turns_and_one_alone_does_not(clock: FakeClock) -> None:
    both = [contestant(clock, lambda: StubModel(clock), label=label) for label in "ab"]
    report = measure(clock, both, frames=40, block=4, replicates=2)
    assert [result.block for result in report.results] == [4, 4]
    assert [item.turns for item in report.results[1].replicates] == [(4, 4, 4, 4, 4)] * 2
    assert measure(clock, lambda: StubModel(clock), frames=40).results[0].block is None


def test_a_report_equals_its_own_file(clock: FakeClock) -> None:
    report = measure(clock, lambda: StubModel(clock), frames=40)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_progress_goes_up_to_the_end(clock: FakeClock) -> None:
    shares: list[float] = []
    run(
        [contestant(clock, lambda: StubModel(clock, [100 * MS]))],
        BenchOptions(frames=30),
        command="",
        clock=clock,
        observe=lambda: CALM,
        progress=shares.append,
    )
    assert shares == sorted(shares)
    assert shares[-1] == 1.0 and len(shares) > 5


def test_no_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no model"):
        run([], BenchOptions(), command="")


def test_operators_are_asked_for_last_and_why_not_is_kept(clock: FakeClock) -> None:
    def fails() -> Mapping[str, Any]:
        raise ProviderError("profiling is not for this provider.")

    models = [
        contestant(clock, lambda: StubModel(clock), label="a", operators=lambda: {"gflop": 1.0}),
        contestant(clock, lambda: StubModel(clock), label="b", operators=fails),
    ]
    found = [result.operators for result in measure(clock, models, frames=20).results]
    assert found == [{"gflop": 1.0}, {"reason": "profiling is not for this provider."}]


# What is planted is caught, and nothing else


def test_without_a_plant_nothing_is_flagged(clock: FakeClock) -> None:
    for arrival in ({}, {"scenario": "paced", "fps": 100.0}, {"scenario": "paced", "streams": 2}):
        report = measure(clock, lambda: StubModel(clock), frames=100, **arrival)  # type: ignore[arg-type]  # options
        assert report.validity.reasons == ()


def throttled(clock: FakeClock, share: float) -> Callable[[], BoxState]:
    """A control group whose threads are kept waiting for so much of the time."""
    return lambda: dataclasses.replace(
        CALM, throttled_us=round(clock() * share / 1000), throttled_periods=clock() // SECOND
    )


def test_planted_throttling_is_caught(clock: FakeClock) -> None:
    make = lambda: StubModel(clock, [10 * MS])  # noqa: E731
    report = measure(clock, make, throttled(clock, 0.05), frames=500)
    assert len(report.validity.reasons) == 1 and "quota" in report.validity.reasons[0]
    assert measure(clock, make, throttled(clock, 0.001), frames=500).valid


def test_planted_heat_is_caught(clock: FakeClock) -> None:
    looks = iter([CALM, *[dataclasses.replace(CALM, thermal_events=3)] * 1000])
    report = measure(clock, lambda: StubModel(clock), lambda: next(looks), frames=500)
    assert len(report.validity.reasons) == 1 and "heat" in report.validity.reasons[0]


def test_planted_drops_are_caught_unless_they_were_asked_for(clock: FakeClock) -> None:
    slow = lambda: StubModel(clock, [*[MS] * 9, 35 * MS])  # noqa: E731
    report = measure(clock, slow, frames=200, scenario="paced", fps=100)
    result = report.results[0]
    assert len(report.validity.reasons) == 1
    assert f"{result.dropped} of 200 frames" in report.validity.reasons[0]
    assert result.dropped > 0 and result.frames + result.dropped == 200
    # The tenth call of a process (5 warm up, 50 are the reference) meets the fifth arrival of each
    # and takes until 75 ms: arrivals of 50 and 60 ms are replaced 10 ms later.
    assert [item.drops_at_ns[:2] for item in result.replicates] == [(60 * MS, 70 * MS)] * 5
    assert measure(clock, slow, frames=200, scenario="paced", fps=100, policy="latest").valid


def test_a_queue_that_grows_to_the_end_is_caught(clock: FakeClock) -> None:
    report = measure(
        clock,
        lambda: StubModel(clock, [13 * MS]),
        frames=500,
        scenario="paced",
        fps=100,
        policy="all",
    )
    assert len(report.validity.reasons) == 1
    assert "cannot hold 100 frames/s" in report.validity.reasons[0]


@pytest.mark.parametrize("warmup", [0, 5])
def test_a_planted_fallback_is_caught(clock: FakeClock, warmup: int) -> None:
    served = dataclasses.replace(STUB_SERVED, fallback=True)
    report = measure(clock, lambda: StubModel(clock, served=served), warmup=warmup, frames=100)
    assert len(report.validity.reasons) == 1 and "took over" in report.validity.reasons[0]


def test_a_fallback_half_way_is_caught(clock: FakeClock) -> None:
    class FallsBack(StubModel):
        def predict(self, frame: Frame) -> Result[Payload]:
            if self.calls == 15:
                self.served = dataclasses.replace(STUB_SERVED, fallback=True)
            return super().predict(frame)

    assert any(
        "took over" in reason
        for reason in measure(clock, lambda: FallsBack(clock), frames=100).validity.reasons
    )


def test_planted_result_caching_is_caught(clock: FakeClock) -> None:
    report = measure(clock, lambda: StubModel(clock, caches=True), frames=100)
    assert len(report.validity.reasons) == 1 and "cache" in report.validity.reasons[0]


def test_a_planted_change_of_output_is_caught(clock: FakeClock) -> None:
    outputs = [*[np.ones((1, 4), np.float32)] * 83, np.full((1, 4), 2, np.float32)]
    report = measure(clock, lambda: StubModel(clock, outputs=outputs), frames=500)
    assert len(report.validity.reasons) == 1 and "output changed" in report.validity.reasons[0]


def test_a_model_that_remembers_frames_may_answer_the_same_one_otherwise(clock: FakeClock) -> None:
    tensor = InputSpec("images", kind="tensor", context=2)
    outputs = [np.full((1, 4), value, np.float32) for value in range(7)]
    model = partial(
        StubModel, clock, outputs=outputs, spec=ModelSpec("tensor", "tensor", inputs=(tensor,))
    )
    report = measure(clock, model, frames=120)
    assert not report.validity.reasons


def test_too_few_frames_make_the_report_invalid(clock: FakeClock) -> None:
    assert not measure(clock, lambda: StubModel(clock), frames=19).valid
    assert measure(clock, lambda: StubModel(clock), frames=20).valid


def test_flags_of_frames_are_counted_and_shown(clock: FakeClock) -> None:
    report = measure(clock, lambda: StubModel(clock, flags=("nonfinite",)), warmup=0, frames=20)
    assert report.results[0].about["flags"] == ["nonfinite"]
    assert any("20 frame(s) carry the flag 'nonfinite'" in n for n in report.validity.notes)


# What breaks down


def test_a_model_that_fails_half_way_ends_the_run_and_what_was_measured_stays(
    clock: FakeClock,
) -> None:
    models: list[StubModel] = []

    def third_fails() -> StubModel:
        models.append(StubModel(clock, fails_at=12 if len(models) == 2 else None))
        return models[-1]

    report = measure(clock, third_fails, frames=100)
    result = report.results[0]
    assert [item.frames for item in result.replicates] == [20, 20, 7]
    assert len(models) == 3 and all(model.closed for model in models)
    assert any("failed after 47 frames" in reason for reason in report.validity.reasons)
    assert result.replicates[2].evidence["error"].startswith("The stub was told to fail")
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_one_of_two_that_fails_ends_the_run_for_both(clock: FakeClock) -> None:
    models = [
        contestant(clock, lambda: StubModel(clock), label="a"),
        contestant(clock, lambda: StubModel(clock, fails_at=30), label="b"),
    ]
    report = measure(clock, models, frames=500, block=10)
    reasons = [reason for reason in report.validity.reasons if "failed" in reason]
    assert len(reasons) == 1 and reasons[0].startswith("b:")
    assert report.results[0].frames > 0


@pytest.mark.parametrize("fails_at", [0, 3])
def test_a_model_that_fails_before_anything_is_measured_is_an_error(
    clock: FakeClock, fails_at: int
) -> None:
    models: list[StubModel] = []

    def fails() -> StubModel:
        models.append(StubModel(clock, fails_at=fails_at))
        return models[-1]

    with pytest.raises(ProviderError, match=f"call {fails_at}"):
        measure(clock, fails, frames=100)
    assert all(model.closed for model in models)


def test_a_later_process_that_cannot_be_opened_leaves_what_the_others_measured(
    clock: FakeClock,
) -> None:
    made = iter([StubModel(clock), StubModel(clock), StubModel(clock, fails_at=0)])
    report = measure(clock, lambda: next(made), frames=100)
    assert [item.frames for item in report.results[0].replicates] == [20, 20]
    assert any("process 3" in reason and "call 0" in reason for reason in report.validity.reasons)


class Stopped(StubModel):
    """Ctrl-C comes while it works."""

    def __init__(self, clock: FakeClock, at: int) -> None:
        super().__init__(clock, [100 * MS])
        self._at = at

    def predict(self, frame: Frame) -> Result[Payload]:
        if self.calls == self._at:
            raise KeyboardInterrupt
        return super().predict(frame)


def test_an_interrupted_run_keeps_what_it_has(clock: FakeClock) -> None:
    models: list[Stopped] = []

    def second_stops() -> Stopped:
        models.append(Stopped(clock, 17 if models else 10**9))
        return models[-1]

    with pytest.raises(Interrupted) as caught:
        measure(clock, second_stops, frames=100)
    report = caught.value.report
    # The turn of half a second that was cut off is not among them.
    assert [item.frames for item in report.results[0].replicates] == [20, 10]
    assert "interrupted" in report.validity.reasons[0]
    assert all(model.closed for model in models)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_a_run_that_is_interrupted_before_it_measured_has_no_report(clock: FakeClock) -> None:
    model = Stopped(clock, 2)
    with pytest.raises(KeyboardInterrupt) as caught:
        measure(clock, lambda: model, frames=100)
    assert not isinstance(caught.value, Interrupted)
    assert model.closed


def test_nothing_is_left_running(clock: FakeClock) -> None:
    import threading

    before = set(threading.enumerate())
    measure(clock, lambda: StubModel(clock), frames=20)
    assert set(threading.enumerate()) == before


def test_what_a_model_said_when_it_was_opened_is_told_once(clock: FakeClock) -> None:
    """Above all which stored plan runs it: all processes say the same."""

    def planned() -> StubModel:
        model = StubModel(clock)
        model.notes = ("the stored plan is used: cpu, int8",)
        return model

    report = measure(clock, planned, frames=100)
    told = [note for note in report.validity.notes if "stored plan" in note]
    assert told == ["stub: the stored plan is used: cpu, int8."]


def test_note_table_and_document_count_alike_how_often_the_source_was_shown(
    clock: FakeClock,
) -> None:
    """The second process takes longer to settle, and so shows its frames more often."""
    latencies = iter([[MS], [*[MS] * 5, *[2 * MS] * 5]])

    def next_one() -> StubModel:
        return StubModel(clock, next(latencies))

    report = measure(clock, next_one, warmup=None, frames=100, replicates=2)
    (result,) = report.results
    loops = [each.evidence["source_loops"] for each in result.replicates]
    assert loops[0] < loops[1]
    said = f"{loops[0] + 1} to {loops[1] + 1} times"
    assert any(f"shown {said} in a process" in note for note in report.validity.notes)
    assert tables.sources(report).rows[0][-1] == said
    assert result.to_dict()["source"]["loops"] == loops[1]
