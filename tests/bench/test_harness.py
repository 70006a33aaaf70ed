from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgeinfer.errors import ProviderError, UsageError
from edgeinfer.testing import STUB_SERVED, FakeClock, StubModel, StubSource
from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.harness import Entry, run
from edgeinfer_bench.options import BenchOptions
from edgeinfer_bench.report import Report


def measure(
    clock: FakeClock,
    calm: BoxState,
    model: StubModel,
    source: StubSource | None = None,
    **options: int,
) -> Report:
    entry = Entry(
        "stub", lambda: model, lambda subject: source or StubSource(clock, 1000, capture_ns=500)
    )
    return run(
        [entry],
        BenchOptions(**options),  # type: ignore[arg-type]  # whole numbers all
        command="edgeinfer bench stub.onnx",
        clock=clock,
        observe=lambda: calm,
    )


def test_the_quantiles_of_a_known_distribution_come_back(clock: FakeClock, calm: BoxState) -> None:
    truth = np.random.default_rng(3).permutation(np.arange(1, 2001)) * 1000
    report = measure(clock, calm, StubModel(clock, truth.tolist()), frames=2000, warmup=0)
    summary = report.results[0].latency_ns
    assert summary["p50"] == pytest.approx(1_000_000, rel=0.01)
    assert summary["p90"] == pytest.approx(1_800_000, rel=0.01)
    assert summary["p99"] == pytest.approx(1_980_000, rel=0.01)
    assert summary["max"] == 2_000_000


def test_warmup_frames_are_kept_apart(clock: FakeClock, calm: BoxState) -> None:
    model = StubModel(clock, [9_000_000, 8_000_000, *[1_000_000] * 30])
    result = measure(clock, calm, model, frames=30, warmup=2).results[0]
    assert result.warmup_samples_ns["latency"] == (9_000_000, 8_000_000)
    assert set(result.samples_ns["latency"]) == {1_000_000}
    assert result.first_frame_ns == 9_000_000
    assert result.to_dict()["warmup_frames"] == 2


def test_without_warmup_the_first_measured_frame_is_the_first(
    clock: FakeClock, calm: BoxState
) -> None:
    model = StubModel(clock, [9_000_000, *[1_000_000] * 29])
    assert measure(clock, calm, model, frames=30, warmup=0).results[0].first_frame_ns == 9_000_000


def test_capture_is_measured_and_no_part_of_the_latency(clock: FakeClock, calm: BoxState) -> None:
    source = StubSource(clock, 50, capture_ns=4_000_000)
    result = measure(clock, calm, StubModel(clock, [1_000_000]), source, frames=30).results[0]
    assert result.stages_ns["capture"]["mean"] == 4_000_000
    assert result.latency_ns["mean"] == 1_000_000
    assert result.fps == pytest.approx(1000)


def test_opening_is_timed(clock: FakeClock, calm: BoxState) -> None:
    def slow_to_open() -> StubModel:
        clock.advance(7_000_000)
        return StubModel(clock)

    entry = Entry("stub", slow_to_open, lambda subject: StubSource(clock, 100))
    report = run([entry], BenchOptions(frames=30), command="", clock=clock, observe=lambda: calm)
    assert report.results[0].opening_ns == 7_000_000


def test_a_duration_ends_the_run(clock: FakeClock, calm: BoxState) -> None:
    report = measure(clock, calm, StubModel(clock, [1_000_000]), duration_s=1, block=1)
    assert report.results[0].frames == 1_000_000_000 // 1_000_500 + 1


def test_a_short_source_is_read_again_and_the_report_says_so(
    clock: FakeClock, calm: BoxState
) -> None:
    entry = Entry("stub", lambda: StubModel(clock), lambda subject: StubSource(clock, 7))
    options = BenchOptions(frames=30, warmup=9)
    report = run([entry], options, command="", clock=clock, observe=lambda: calm)
    assert report.results[0].frames == 30
    assert report.results[0].source["loops"] == 5
    assert any("shown 6 times" in note for note in report.validity.notes)
    assert report.valid


def test_several_models_take_turns_in_blocks_and_the_order_rotates(calm: BoxState) -> None:
    clock = FakeClock()
    order: list[str] = []

    class Noting(StubModel):
        def __call__(self, frame: object) -> object:  # type: ignore[override]  # only notes
            order.append(self._name)
            return super().__call__(frame)  # type: ignore[arg-type]  # as it came

    entries = [
        Entry(name, lambda name=name: Noting(clock, name=name), lambda m: StubSource(clock, 99))
        for name in "ab"
    ]
    options = BenchOptions(frames=4, warmup=0, block=2)
    report = run(entries, options, command="", clock=clock, observe=lambda: calm)  # type: ignore[arg-type]  # Noting
    # The last two are the repeated first frames, after the measurement.
    assert "".join(order) == "aabbbbaa" + "ab"
    assert [result.block for result in report.results] == [2, 2]


def test_one_model_alone_has_no_turns(clock: FakeClock, calm: BoxState) -> None:
    assert measure(clock, calm, StubModel(clock), frames=20).results[0].block is None


def test_a_changed_output_makes_the_report_invalid(clock: FakeClock, calm: BoxState) -> None:
    ones, twos = np.ones((1, 4), np.float32), np.full((1, 4), 2, np.float32)
    model = StubModel(clock, outputs=[*[ones] * 29, twos])
    report = measure(clock, calm, model, StubSource(clock, 1000), frames=29, warmup=0)
    assert not report.valid
    assert any("output changed" in reason for reason in report.validity.reasons)


def test_a_fallback_makes_the_report_invalid(clock: FakeClock, calm: BoxState) -> None:
    served = dataclasses.replace(STUB_SERVED, fallback=True)
    report = measure(clock, calm, StubModel(clock, served=served), frames=30)
    assert any("took over" in reason for reason in report.validity.reasons)


def test_too_few_frames_make_the_report_invalid(clock: FakeClock, calm: BoxState) -> None:
    assert not measure(clock, calm, StubModel(clock), frames=19).valid
    assert measure(clock, calm, StubModel(clock), frames=20).valid


def test_flags_of_frames_are_counted_and_shown(clock: FakeClock, calm: BoxState) -> None:
    report = measure(clock, calm, StubModel(clock, flags=("nonfinite",)), frames=20, warmup=0)
    assert report.results[0].about["flags"] == ["nonfinite"]
    assert any("20 frame(s) carry the flag 'nonfinite'" in n for n in report.validity.notes)


def test_a_live_source_that_ends_ends_the_run(clock: FakeClock, calm: BoxState) -> None:
    source = StubSource(clock, 25, live=True)
    report = measure(clock, calm, StubModel(clock), source, frames=100, warmup=5)
    assert report.results[0].frames == 20
    assert any("the source ended" in note for note in report.validity.notes)


def test_model_and_source_are_closed_also_when_the_model_fails(
    clock: FakeClock, calm: BoxState
) -> None:
    model, source = StubModel(clock, fails_at=15), StubSource(clock, 100)
    with pytest.raises(ProviderError, match="15"):
        measure(clock, calm, model, source, frames=30)
    assert model.closed and source.closed


def test_progress_goes_up_to_the_end(clock: FakeClock, calm: BoxState) -> None:
    shares: list[float] = []
    entry = Entry("stub", lambda: StubModel(clock), lambda subject: StubSource(clock, 100))
    options = BenchOptions(frames=30)
    run([entry], options, command="", clock=clock, observe=lambda: calm, progress=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_no_model_is_a_usage_error() -> None:
    with pytest.raises(UsageError):
        run([], BenchOptions(), command="")
