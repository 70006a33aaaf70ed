"""When is a report INVALID, and what is only noted?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from edgeinfer_bench.boxstate import BoxState
from edgeinfer_bench.report import Report
from edgeinfer_bench.result import BenchResult
from edgeinfer_bench.validity import Validity, judge

MakeReport = Callable[..., Report]
SECOND = 1_000_000_000
MS = 1_000_000


def seen(result: BenchResult, **evidence: Any) -> BenchResult:
    """The result with more evidence in each of its processes."""
    replicates = tuple(
        dataclasses.replace(item, evidence={**item.evidence, **evidence})
        for item in result.replicates
    )
    return dataclasses.replace(result, replicates=replicates)


def arriving(result: BenchResult, **arrival: Any) -> BenchResult:
    return dataclasses.replace(result, arrival={**result.arrival, **arrival})


def aged(result: BenchResult, ages_ns: Sequence[int]) -> BenchResult:
    """The result with ages that are known, answered in the time that they take."""
    (one,) = result.replicates
    samples = {**one.samples_ns, "age": tuple(ages_ns)}
    elapsed = (one.samples_ns["at"][-1] or 0) + ages_ns[-1]
    one = dataclasses.replace(one, samples_ns=samples, elapsed_ns=elapsed)
    return dataclasses.replace(result, replicates=(one,))


def verdict_on(*results: BenchResult, broken: Sequence[str] = ()) -> Validity:
    return judge(results, [], [], broken)


@pytest.fixture
def sound(make_report: MakeReport) -> BenchResult:
    """Enough frames of enough processes, and nothing against them."""
    return make_report(frames=100, replicates=5).results[0]


@pytest.fixture
def paced(make_report: MakeReport) -> BenchResult:
    return make_report(frames=100, scenario="paced").results[0]


@pytest.fixture
def server(make_report: MakeReport) -> BenchResult:
    return make_report(frames=1000, scenario="server").results[0]


def test_a_sound_run_is_valid_and_has_no_notes(sound: BenchResult) -> None:
    found = verdict_on(sound)
    assert (found.verdict, found.reasons, found.notes) == ("VALID", (), ())
    assert found.evidence["models"]["model0"]["frames"] == 100
    assert found.evidence["throttled_spans"] == []


@pytest.mark.parametrize(
    ("evidence", "value", "remedy"),
    [
        ({"error": "out of memory"}, "failed after 100 frames", "out of memory"),
        ({"fallback": True}, "another one took over", "Name the one that runs"),
        ({"outputs_changed": 2}, "in 10 of 50 comparisons", "the same frame"),
        (
            {"fresh_ns": [2 * MS] * 8, "again_ns": [MS // 10] * 8},
            "came from a cache",
            "Switch the cache off",
        ),
    ],
)
def test_what_a_model_did_wrong_makes_the_report_invalid(
    sound: BenchResult, evidence: Mapping[str, Any], value: str, remedy: str
) -> None:
    found = verdict_on(seen(sound, **evidence))
    assert found.verdict == "INVALID"
    (reason,) = found.reasons
    assert reason.startswith("model0: ") and value in reason and remedy in reason


def test_frames_that_take_as_long_again_come_from_no_cache(sound: BenchResult) -> None:
    assert not verdict_on(seen(sound, fresh_ns=[2 * MS] * 8, again_ns=[MS] * 8)).reasons
    assert not verdict_on(seen(sound, fresh_ns=[40_000] * 8, again_ns=[1_000] * 8)).reasons


@pytest.mark.parametrize(("frames", "valid"), [(19, False), (20, True)])
def test_a_median_takes_twenty_frames(make_report: MakeReport, frames: int, valid: bool) -> None:
    found = verdict_on(make_report(frames=frames, replicates=5).results[0])
    assert (found.verdict == "VALID") == valid
    assert valid or "19 frames" in found.reasons[0]


def test_each_model_is_judged_and_named(make_report: MakeReport) -> None:
    one, other = make_report([MS], [2 * MS], frames=100, replicates=5).results
    found = verdict_on(one, seen(other, fallback=True))
    assert [reason.partition(":")[0] for reason in found.reasons] == ["model1"]
    assert set(found.evidence["models"]) == {"model0", "model1"}
    assert found.evidence["models"]["model1"]["fallback"]


def test_what_broke_the_run_comes_first(sound: BenchResult) -> None:
    found = verdict_on(seen(sound, fallback=True), broken=["The run was interrupted."])
    assert found.reasons[0] == "The run was interrupted."
    assert len(found.reasons) == 2


def test_drops_that_nobody_asked_for_make_the_report_invalid(make_report: MakeReport) -> None:
    result = make_report(frames=100, scenario="paced", full=True).results[0]
    assert result.dropped == 2
    (reason,) = verdict_on(result).reasons
    assert "2 of 102 frames (2.0%)" in reason and "100 frames/s" in reason and "--fps" in reason
    assert not verdict_on(arriving(result, drops_asked=True)).reasons


def test_the_rate_is_told_per_stream_where_there_are_several(make_report: MakeReport) -> None:
    result = make_report(frames=100, scenario="paced", full=True).results[0]
    assert "each of 3 streams" in verdict_on(arriving(result, streams=3)).reasons[0]


def growing(by_ns: int, count: int = 100) -> list[int]:
    """Ages of a queue that every frame makes longer by so much."""
    return [2 * MS + at * by_ns for at in range(count)]


def test_a_queue_that_only_grows_makes_the_report_invalid(paced: BenchResult) -> None:
    result = aged(arriving(paced, policy="all"), growing(2 * MS))
    (reason,) = verdict_on(result).reasons
    assert "cannot hold 100 frames/s" in reason and "queue" in reason and "--fps" in reason


def test_ages_that_wander_are_no_growing_queue(paced: BenchResult) -> None:
    ages = np.random.default_rng(0).exponential(3 * MS, 100).astype(int) + MS
    result = aged(arriving(paced, policy="all"), ages.tolist())
    late = dataclasses.replace(result.replicates[0], elapsed_ns=2 * SECOND)
    assert not verdict_on(dataclasses.replace(result, replicates=(late,))).reasons


def test_a_hiccup_that_is_caught_up_with_is_no_growing_queue(paced: BenchResult) -> None:
    ages = [2 * MS] * 40 + growing(5 * MS, 20)[::-1] + [2 * MS] * 40
    assert not verdict_on(aged(arriving(paced, policy="all"), ages)).reasons


def test_a_server_whose_rate_held_is_valid(server: BenchResult) -> None:
    assert not verdict_on(server).reasons


def test_a_server_without_a_rate_is_invalid(server: BenchResult) -> None:
    (reason,) = verdict_on(arriving(server, rate=0.0)).reasons
    assert "no rate" in reason and "--target" in reason


def test_a_server_promises_its_99th_percentile_from_a_thousand_frames_on(
    make_report: MakeReport,
) -> None:
    result = make_report(frames=999, scenario="server").results[0]
    assert any("999" in r and "--frames 1000" in r for r in verdict_on(result).reasons)


def test_a_rate_that_did_not_hold_is_told(server: BenchResult) -> None:
    late = aged(server, [2 * MS] * 979 + [13 * MS] * 21)
    (reason,) = verdict_on(late).reasons
    assert "21 of 1,000" in reason
    close = verdict_on(aged(server, [2 * MS] * 980 + [13 * MS] * 20))
    assert not close.reasons and any("20 of 1,000" in note for note in close.notes)
    kept = verdict_on(aged(server, [2 * MS] * 990 + [13 * MS] * 10))
    assert not kept.reasons and not any("of 1,000" in note for note in kept.notes)


@pytest.mark.parametrize(
    ("evidence", "note"),
    [
        ({"source_loops": 2, "source_whole": True}, "the frames of street.mp4 were held"),
        ({"source_loops": 2, "source_whole": False}, "the first 46 frames of street.mp4"),
        ({"source_loops": 2}, "shown 3 times"),
        ({"ended": True}, "the source ended before the run did"),
        ({"source_notes": ["frame 3 was broken"]}, "frame 3 was broken"),
        ({"flagged_frames": {"nonfinite": 1}}, "5 frame(s) carry the flag 'nonfinite'"),
        ({"settled": False}, "before latencies had settled"),
    ],
)
def test_what_a_reader_should_know_is_noted(
    sound: BenchResult, evidence: Mapping[str, Any], note: str
) -> None:
    result = dataclasses.replace(sound, source={**sound.source, "kept": 46})
    found = verdict_on(seen(result, **evidence))
    assert not found.reasons
    assert len(found.notes) == 1 and note in found.notes[0]


def test_synthetic_frames_may_repeat_without_a_word(sound: BenchResult) -> None:
    made_up = dataclasses.replace(sound, source={"name": "synthetic", "kind": "synthetic"})
    assert not verdict_on(seen(made_up, source_loops=9)).notes


def test_few_processes_are_noted(make_report: MakeReport) -> None:
    found = verdict_on(make_report(frames=100, replicates=4).results[0])
    assert found.verdict == "VALID" and "4 process(es)" in found.notes[0]


def test_frames_that_were_still_warming_are_noted(make_report: MakeReport) -> None:
    latencies = [*[3 * MS] * 20, *[2 * MS] * 80]
    found = verdict_on(make_report(latencies, frames=100).results[0])
    assert any("first fifth" in note and "50%" in note for note in found.notes)


def test_the_box_is_judged_too(sound: BenchResult, calm: BoxState) -> None:
    hot = dataclasses.replace(calm, total_ticks=2000, steal_ticks=100)
    found = judge([sound], [(0, calm), (SECOND, hot)], [(0, SECOND)])
    assert any("hypervisor" in reason for reason in found.reasons)
    assert found.evidence["before"]["steal_ticks"] == 0


def test_a_validity_is_written_with_its_verdict(sound: BenchResult) -> None:
    written = verdict_on(seen(sound, fallback=True)).to_dict()
    assert list(written) == ["verdict", "reasons", "notes", "evidence"]
    assert written["verdict"] == "INVALID"
